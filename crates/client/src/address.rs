//! Where a shard is: URLs.

use crate::Error;
use std::fmt;
use std::path::PathBuf;

/// The port that a URL means if it names none.
pub const DEFAULT_PORT: u16 = 50051;

/// How a shard is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Over TCP.
    Tcp {
        /// A name or an IP address, IPv6 without brackets.
        host: String,
        /// The port.
        port: u16,
        /// Whether the connection is encrypted, and the shard's certificate must name the host.
        tls: bool,
    },
    /// Through a socket in the file system.
    Unix(PathBuf),
}

/// What a URL says: where, as whom, and which database.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// Where.
    pub address: Address,
    /// The user; `None`: `default`.
    pub user: Option<String>,
    /// The password; `None`: none is given.
    pub password: Option<String>,
    /// The database that is selected.
    pub database: u8,
}

impl Target {
    /// Reads `sutra://`, `redis://` (both TCP), `sutras://`, `rediss://` (both TLS) and `unix://` or `redis+unix://` URLs:
    /// `sutra://[user[:password]@]host[:port][/database]`, `unix:///path/of/socket[?db=1]`.
    ///
    /// User and password may be percent-encoded. Without a user, as in `redis://:secret@[::1]`, it is `default`.
    ///
    /// # Errors
    /// [`Error::Config`], which says what is wrong with which part; it never repeats the password.
    ///
    /// ```
    /// use sutra_cache_client::{Address, Target};
    ///
    /// let target = Target::parse("sutra://:secret@cache.example.com/2")?;
    /// assert_eq!(target.address, Address::Tcp { host: "cache.example.com".into(), port: 50051, tls: false });
    /// assert_eq!((target.password.as_deref(), target.database), (Some("secret"), 2));
    /// # Ok::<(), sutra_cache_client::Error>(())
    /// ```
    pub fn parse(url: &str) -> Result<Target, Error> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("it has no '://'"))?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "sutra" | "redis" => false,
            "sutras" | "rediss" => true,
            "unix" | "redis+unix" | "sutra+unix" => return unix(rest),
            other => {
                return Err(wrong(&format!(
                    "the scheme '{other}' is none of sutra, redis (TCP), sutras, rediss (TLS), unix (a socket's path)"
                )));
            }
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, place) = match authority.rsplit_once('@') {
            Some((credentials, place)) => (credentials, place),
            None => ("", authority),
        };
        let (user, password) = match credentials.split_once(':') {
            Some((user, password)) => (decoded(user)?, Some(decoded(password)?)),
            None => (decoded(credentials)?, None),
        };
        let (host, port) = host_and_port(place)?;
        let database = database(path, query)?;
        let user = Some(user).filter(|user| !user.is_empty());
        Ok(Target { address: Address::Tcp { host, port, tls }, user, password, database })
    }
}

fn unix(rest: &str) -> Result<Target, Error> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if path.is_empty() {
        return Err(wrong("a unix URL needs the path of a socket: unix:///run/sutra.sock"));
    }
    let mut target = Target {
        address: Address::Unix(decoded(path)?.into()),
        user: None,
        password: None,
        database: database("", query)?,
    };
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("user", user)) => target.user = Some(decoded(user)?),
            Some(("pass" | "password", password)) => target.password = Some(decoded(password)?),
            Some(_) | None => {}
        }
    }
    Ok(target)
}

fn host_and_port(place: &str) -> Result<(String, u16), Error> {
    let (host, port) = if let Some(rest) = place.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(|| wrong("an IPv6 address lacks its ']'"))?;
        (host, rest.strip_prefix(':'))
    } else {
        match place.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => {
                return Err(wrong("an IPv6 address stands in brackets: [::1]:50051"));
            }
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        }
    };
    let port = match port {
        None | Some("") => DEFAULT_PORT,
        Some(port) => port.parse().map_err(|_| wrong(&format!("the port '{port}' is not a number from 0 to 65535")))?,
    };
    Ok((if host.is_empty() { "127.0.0.1".to_owned() } else { decoded(host)? }, port))
}

fn database(path: &str, query: &str) -> Result<u8, Error> {
    let named = query.split('&').find_map(|pair| pair.strip_prefix("db="));
    match named.unwrap_or(path.trim_end_matches('/')) {
        "" => Ok(0),
        number => number.parse().map_err(|_| wrong(&format!("the database '{number}' is not a number from 0 to 255"))),
    }
}

fn decoded(text: &str) -> Result<String, Error> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        if byte == b'%' {
            let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
            let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            bytes.push(value.ok_or_else(|| wrong("a '%' is not followed by two hexadecimal digits"))?);
            rest = &behind[2..];
        } else {
            bytes.push(byte);
            rest = behind;
        }
    }
    String::from_utf8(bytes).map_err(|_| wrong("what is percent-encoded is not UTF-8"))
}

/// The URL itself is not repeated: it may hold a password.
fn wrong(what: &str) -> Error {
    Error::Config(format!(
        "this is no URL of a shard: {what}; accepted is sutra://[user:password@]host[:port][/database]"
    ))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port, .. } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("address", &self.address)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "(hidden)"))
            .field("database", &self.database)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16, tls: bool) -> Address {
        Address::Tcp { host: host.to_owned(), port, tls }
    }

    #[test]
    fn urls_say_where_as_whom_and_which_database() {
        let cases = [
            ("sutra://", tcp("127.0.0.1", 50051, false), None, None, 0),
            ("redis://cache.example", tcp("cache.example", 50051, false), None, None, 0),
            ("rediss://cache.example:6380/3", tcp("cache.example", 6380, true), None, None, 3),
            (
                "sutras://ann:pass:w@cache.example/?db=5",
                tcp("cache.example", 50051, true),
                Some("ann"),
                Some("pass:w"),
                5,
            ),
            ("redis://:secret@[::1]:7/0", tcp("::1", 7, false), None, Some("secret"), 0),
            ("unix:///run/s.sock?db=2&pass=p%40x", Address::Unix("/run/s.sock".into()), None, Some("p@x"), 2),
        ];
        for (url, address, user, password, database) in cases {
            let target = Target::parse(url).expect(url);
            assert_eq!(target.address, address, "{url}");
            assert_eq!(
                (target.user.as_deref(), target.password.as_deref(), target.database),
                (user, password, database),
                "{url}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for (url, part) in [
            ("cache:50051", "'://'"),
            ("http://cache.example", "'http'"),
            ("redis://u:hidden@cache.example:port", "'port'"),
            ("redis://cache.example/first", "'first'"),
            ("redis://::1", "brackets"),
            ("unix:///run/s.sock?pass=hidden%zz", "hexadecimal"),
            ("unix://", "path"),
        ] {
            let error = Target::parse(url).expect_err(url).to_string();
            assert!(error.contains(part) && !error.contains("hidden"), "{url}: {error}");
        }
        assert!(!format!("{:?}", Target::parse("redis://u:hidden@cache.example")).contains("\"hidden"));
    }
}
