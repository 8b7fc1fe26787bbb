//! Encrypted connections, by rustls.

use super::Stream;
use crate::Error;
use std::sync::{Arc, OnceLock};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Whose certificates are believed, and which the client shows.
#[derive(Clone, Default)]
#[must_use]
pub struct TlsConfig {
    /// Made at the first connection if nothing else was said, and kept: the system's authorities are many files.
    made: Arc<OnceLock<Arc<ClientConfig>>>,
    server_name: Option<String>,
}

impl TlsConfig {
    /// Believes the authorities in this PEM text, and no others.
    ///
    /// # Errors
    /// [`Error::Config`] if there is no certificate in it.
    pub fn with_authorities(authorities_pem: &[u8]) -> Result<TlsConfig, Error> {
        let made = builder(Some(authorities_pem))?.with_no_client_auth();
        Ok(TlsConfig::of(made))
    }

    /// Shows the shard a certificate of the client's own (mutual TLS). With no authorities those of the system are believed.
    ///
    /// # Errors
    /// [`Error::Config`] if the PEM texts do not hold what they should.
    pub fn with_identity(
        authorities_pem: Option<&[u8]>,
        certificate_pem: &[u8],
        key_pem: &[u8],
    ) -> Result<TlsConfig, Error> {
        let certificates = certificates(certificate_pem)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| wrong("the client's key", &error))?;
        let made = builder(authorities_pem)?
            .with_client_auth_cert(certificates, key)
            .map_err(|error| wrong("the client's certificate and key", &error))?;
        Ok(TlsConfig::of(made))
    }

    fn of(made: ClientConfig) -> TlsConfig {
        TlsConfig { made: Arc::new(Arc::new(made).into()), server_name: None }
    }

    fn made(&self) -> Result<Arc<ClientConfig>, Error> {
        if let Some(made) = self.made.get() {
            return Ok(Arc::clone(made));
        }
        let made = Arc::new(builder(None)?.with_no_client_auth());
        Ok(Arc::clone(self.made.get_or_init(|| made)))
    }

    /// The name that the shard's certificate must bear, if it is not the host of the URL.
    pub fn server_name(mut self, name: impl Into<String>) -> TlsConfig {
        self.server_name = Some(name.into());
        self
    }
}

/// Encrypts a connection that was just made.
pub(super) async fn connect(stream: TcpStream, host: &str, config: &TlsConfig) -> Result<Stream, Error> {
    let made = config.made()?;
    let name = config.server_name.as_deref().unwrap_or(host).to_owned();
    let name = ServerName::try_from(name).map_err(|error| wrong("the name of the shard", &error))?;
    let stream = TlsConnector::from(made)
        .connect(name, stream)
        .await
        .map_err(|error| Error::Unavailable { address: host.to_owned(), cause: format!("TLS: {error}") })?;
    Ok(Stream::Tls(Box::new(stream)))
}

type Builder = tokio_rustls::rustls::ConfigBuilder<ClientConfig, tokio_rustls::rustls::client::WantsClientCert>;

fn builder(authorities_pem: Option<&[u8]>) -> Result<Builder, Error> {
    let mut roots = RootCertStore::empty();
    let authorities = match authorities_pem {
        Some(pem) => certificates(pem)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(authorities);
    if roots.is_empty() {
        return Err(Error::Config(
            "no authority is known by which the shard's certificate could be checked".to_owned(),
        ));
    }
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong("TLS", &error))?;
    Ok(builder.with_root_certificates(roots))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| wrong("certificates", &error))?;
    if certificates.is_empty() {
        Err(Error::Config("there is no certificate in the PEM text".to_owned()))
    } else {
        Ok(certificates)
    }
}

fn wrong(what: &str, error: &dyn std::fmt::Display) -> Error {
    Error::Config(format!("{what}: {error}"))
}

impl std::fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsConfig").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}
