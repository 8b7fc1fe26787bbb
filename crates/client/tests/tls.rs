//! Encrypted connections and sockets in the file system, through a proxy of the test's own before a real shard.
#![cfg(feature = "tls")]

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use sutra_cache::embedded::Embedded;
use sutra_cache_client::{Client, Config, Error, TlsConfig};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// Who signs certificates.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
struct Identity {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Authority { issuer: CertifiedIssuer::self_signed(params, key).expect("a certificate") }
    }

    fn pem(&self) -> String {
        self.issuer.pem()
    }

    fn certify(&self, name: &str) -> Identity {
        self.certify_until(name, 2100)
    }

    fn certify_until(&self, name: &str, year: i32) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

/// Encrypts for a shard; `clients` must have signed the certificate of whoever connects, if it is given. Returns the port.
async fn encrypted(shard: SocketAddr, identity: &Identity, clients: Option<&Authority>) -> u16 {
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(der(&authority.pem())).expect("an authority");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.expect("a verifier"))
        }
    };
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
    let config = builder.with_single_cert(vec![der(&identity.certificate)], key).expect("an identity");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(client) = acceptor.accept(client).await {
                    join(client, shard).await;
                }
            });
        }
    });
    port
}

async fn join(mut client: impl AsyncRead + AsyncWrite + Unpin, shard: SocketAddr) {
    let mut shard = TcpStream::connect(shard).await.expect("a shard");
    // Whichever side ends first.
    drop(copy_bidirectional(&mut client, &mut shard).await);
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}

fn config(port: u16, tls: TlsConfig) -> Config {
    let config = Config::new(&format!("sutras://localhost:{port}")).expect("a URL").tls(tls);
    config.connect_timeout(Duration::from_secs(60)).read_timeout(Duration::from_secs(60)).connections(1)
}

fn believing(authority: &Authority) -> TlsConfig {
    TlsConfig::with_authorities(authority.pem().as_bytes()).expect("an authority")
}

/// Why the client does not connect.
async fn refusal(config: Config) -> String {
    let error = Client::open(config.connect_timeout(Duration::from_secs(2))).await.expect_err("a refusal");
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn everything_works_over_an_encrypted_connection_whose_authority_is_believed() {
    let (shard, authority) = (Embedded::start(&[]).unwrap(), Authority::new());
    let port = encrypted(shard.address(), &authority.certify("localhost"), None).await;
    let client = Client::open(config(port, believing(&authority))).await.unwrap();
    let value: Vec<u8> = (0..8_u32 << 20).map(|at| (at ^ (at >> 8)) as u8).collect();
    client.set("large", &value[..]).await.unwrap();
    assert!(client.get::<Vec<u8>>("large").await.unwrap().as_deref() == Some(&value[..]));
    let calls: Vec<_> = (0..1000)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.incr("n", 1).await })
        })
        .collect();
    for (at, call) in (1..).zip(calls) {
        assert_eq!(call.await.unwrap().unwrap(), at);
    }
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused_unless_that_name_is_expected() {
    let (shard, authority) = (Embedded::start(&[]).unwrap(), Authority::new());
    let port = encrypted(shard.address(), &authority.certify("shard-7"), None).await;
    let text = refusal(config(port, believing(&authority))).await;
    assert!(text.contains("TLS") && text.contains("not valid for name"), "{text}");
    let client = Client::open(config(port, believing(&authority).server_name("shard-7"))).await.unwrap();
    assert_eq!(client.incr("n", 1).await.unwrap(), 1);
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let (shard, authority, other) = (Embedded::start(&[]).unwrap(), Authority::new(), Authority::new());
    let port = encrypted(shard.address(), &authority.certify("localhost"), None).await;
    let text = refusal(config(port, believing(&other))).await;
    assert!(text.contains("TLS") && text.contains("certificate"), "{text}");
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_refused() {
    let (shard, authority) = (Embedded::start(&[]).unwrap(), Authority::new());
    let port = encrypted(shard.address(), &authority.certify_until("localhost", 2020), None).await;
    let text = refusal(config(port, believing(&authority))).await;
    assert!(text.contains("TLS") && text.contains("expired"), "{text}");
}

#[tokio::test]
async fn a_shard_that_asks_who_connects_is_shown_the_clients_certificate() {
    let (shard, authority, other) = (Embedded::start(&[]).unwrap(), Authority::new(), Authority::new());
    let port = encrypted(shard.address(), &authority.certify("localhost"), Some(&authority)).await;
    let shown = |identity: Identity| {
        let authorities = authority.pem();
        TlsConfig::with_identity(Some(authorities.as_bytes()), identity.certificate.as_bytes(), identity.key.as_bytes())
            .expect("an identity")
    };
    let client = Client::open(config(port, shown(authority.certify("client")))).await.unwrap();
    assert_eq!(client.incr("n", 1).await.unwrap(), 1);
    // None at all, and one that somebody else signed.
    let none = refusal(config(port, believing(&authority))).await;
    assert!(none.contains("ertificate"), "{none}");
    let wrong = refusal(config(port, shown(other.certify("client")))).await;
    assert!(!wrong.is_empty());
}

#[tokio::test]
async fn a_shard_that_does_not_encrypt_is_refused_by_a_client_that_wants_it() {
    let shard = Embedded::start(&[]).unwrap();
    let authority = Authority::new();
    let text = refusal(config(shard.address().port(), believing(&authority))).await;
    assert!(text.contains("TLS"), "{text}");
}

#[test]
fn what_is_no_certificate_is_said_before_anything_is_connected() {
    let authority = Authority::new();
    let identity = authority.certify("client");
    assert!(matches!(TlsConfig::with_authorities(b"nothing"), Err(Error::Config(_))));
    let swapped = TlsConfig::with_identity(None, identity.key.as_bytes(), identity.certificate.as_bytes());
    assert!(matches!(swapped, Err(Error::Config(_))), "{swapped:?}");
}

#[tokio::test]
async fn everything_works_through_a_socket_in_the_file_system() {
    let (shard, directory) = (Embedded::start(&[]).unwrap(), tempfile::tempdir().unwrap());
    let path = directory.path().join("a shard.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let address = shard.address();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(join(client, address));
        }
    });
    let url = format!("unix://{}?db=2", path.display().to_string().replace(' ', "%20"));
    let client = Client::connect(&url).await.unwrap();
    client.set("k", "v").await.unwrap();
    assert_eq!(client.get::<String>("k").await.unwrap().as_deref(), Some("v"));
    let other = Client::connect(&format!("{}/2", shard.url())).await.unwrap();
    assert!(other.exists("k").await.unwrap(), "it is in the database that the URL names");
    let missing = Config::new("unix:///nowhere/to/be.sock").unwrap().connect_timeout(Duration::from_millis(100));
    assert!(matches!(Client::open(missing).await, Err(Error::Unavailable { .. })));
}
