//! What the value of a setting may be: read from text, written as CONFIG GET shows it.

use std::borrow::Cow;
use std::net::IpAddr;
use std::str::FromStr;
use sutra_eviction::Policy;

/// The smallest memory limit that is accepted: below it the segments would be too few to choose among.
pub const MEMORY_BYTES_MIN: u64 = 8 << 20;

/// A kind of values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// `yes` or `no`.
    YesNo,
    /// A whole number.
    Integer {
        /// The least accepted.
        min: i64,
        /// The largest accepted.
        max: i64,
    },
    /// A number of bytes.
    Bytes {
        /// The least accepted.
        min: u64,
    },
    /// A number of bytes, or a share of the memory limit: `25%`.
    BytesOrPercent,
    /// The memory limit: bytes, or a share of the memory the process may use (`75%`); 0: the default share.
    Memory,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// The name of an eviction policy.
    Policy,
    /// Addresses to listen on.
    Addresses,
    /// The same, or none.
    OptionalAddresses,
    /// A TCP port, or `off`.
    PortOrOff,
    /// Names of machines, or `*`; may be none.
    HostNames,
    /// Milliseconds between syncs: `0`, a number, `never`, or `off` for no log.
    SyncInterval,
    /// Limits on waiting replies: class, hard limit, soft limit, seconds; several in a row.
    OutputLimits,
    /// A filter of log lines, in the notation of the crate `tracing-subscriber`.
    LogFilter,
    /// Any text.
    Text,
    /// Any text, never shown in messages.
    Secret,
    /// A file whose content is a secret.
    SecretFile,
}

/// Why a text is not a value of its kind, worded as Redis words it.
pub type Refusal = Cow<'static, str>;

impl Kind {
    /// The value as CONFIG GET shows it.
    ///
    /// # Errors
    /// Redis's text, as CONFIG SET answers it.
    pub fn canonical(self, text: &str) -> Result<String, Refusal> {
        match self {
            Kind::YesNo => match text.to_ascii_lowercase().as_str() {
                "yes" | "true" | "on" | "1" => Ok("yes".to_owned()),
                "no" | "false" | "off" | "0" => Ok("no".to_owned()),
                _ => Err("argument must be 'yes' or 'no'".into()),
            },
            Kind::Integer { min, max } => {
                let number = sutra_protocol::number::parse_i64(text.as_bytes())
                    .ok_or("argument couldn't be parsed into an integer")?;
                within(number, min, max)
            }
            Kind::Bytes { min } => {
                let bytes = parse_bytes(text).ok_or("argument must be a memory value")?;
                within(bytes, min, i64::MAX as u64)
            }
            Kind::BytesOrPercent => match parse_percent(text) {
                Some(percent) => Ok(format!("{percent}%")),
                None => parse_bytes(text)
                    .map(|bytes| bytes.to_string())
                    .ok_or_else(|| "argument must be a memory or percent value".into()),
            },
            Kind::Memory => match (parse_percent(text), parse_bytes(text)) {
                (Some(percent @ 1..), _) => Ok(format!("{percent}%")),
                (Some(0) | None, None) => Err("argument must be a memory value".into()),
                (Some(0) | None, Some(0)) => Ok("0".to_owned()),
                (Some(0) | None, Some(bytes)) => within(bytes, MEMORY_BYTES_MIN, i64::MAX as u64),
            },
            Kind::OneOf(words) => {
                let found = words.iter().find(|word| word.eq_ignore_ascii_case(text));
                found.map(|word| (*word).to_owned()).ok_or_else(|| one_of(words).into())
            }
            Kind::Policy => {
                Policy::from_str(text).map(|policy| policy.name().to_owned()).map_err(|_| one_of(&POLICIES).into())
            }
            Kind::Addresses => {
                let addresses = parse_addresses(text).ok_or("argument must be one or more IP addresses")?;
                Ok(addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
            }
            Kind::OptionalAddresses if text.trim().is_empty() => Ok(String::new()),
            Kind::OptionalAddresses => Kind::Addresses.canonical(text),
            Kind::PortOrOff => match text.to_ascii_lowercase().as_str() {
                "off" | "no" => Ok("off".to_owned()),
                number => Kind::Integer { min: 0, max: 65_535 }
                    .canonical(number)
                    .map_err(|_| "argument must be 'off' or a port from 0 to 65535".into()),
            },
            Kind::HostNames => host_names(text),
            Kind::SyncInterval => match text.to_ascii_lowercase().as_str() {
                "off" => Ok("off".to_owned()),
                "never" => Ok("never".to_owned()),
                number => Kind::Integer { min: 0, max: SYNC_INTERVAL_MS_MAX }
                    .canonical(number)
                    .map_err(|_| "argument must be 'off', 'never' or a number of milliseconds".into()),
            },
            Kind::OutputLimits => Ok(parse_output_limits(text)?
                .iter()
                .map(|limit| {
                    format!("{} {} {} {}", limit.class, limit.hard_bytes, limit.soft_bytes, limit.soft_seconds)
                })
                .collect::<Vec<_>>()
                .join(" ")),
            Kind::LogFilter => match tracing_subscriber::EnvFilter::try_new(text) {
                Ok(_) => Ok(text.to_owned()),
                Err(_) => Err("argument must be a log filter, such as 'info' or 'warn,sutra_cache=debug'".into()),
            },
            Kind::SecretFile => super::load::check_secret_file(text).map(|()| text.to_owned()),
            Kind::Text | Kind::Secret => Ok(text.to_owned()),
        }
    }

    /// What is accepted, for messages at the start and for the reference.
    #[must_use]
    pub fn accepted(self) -> String {
        match self {
            Kind::YesNo => "yes, no, true, false, on, off, 1 or 0".to_owned(),
            Kind::Integer { min, max: i64::MAX } => format!("a whole number from {min}"),
            Kind::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Bytes { min } => {
                let least = if min > 0 { format!(", at least {min}") } else { String::new() };
                format!("a number of bytes such as 1048576, 512kb, 64mb or 2gb{least}")
            }
            Kind::BytesOrPercent => {
                "a number of bytes such as 67108864 or 64mb, or a share of maxmemory such as 25%; 0: no limit"
                    .to_owned()
            }
            Kind::Memory => format!(
                "a number of bytes such as 512mb, 2gb or 1gib, at least {MEMORY_BYTES_MIN}, or a share of the memory that the \
                 process may use, such as 75%"
            ),
            Kind::OneOf(words) => words.join(", "),
            Kind::Policy => format!("{}; also lru, lfu, random and ttl", POLICIES.join(", ")),
            Kind::Addresses => {
                "one or more IP addresses, `localhost`, or `*` for all addresses of the machine".to_owned()
            }
            Kind::OptionalAddresses => format!("nothing, or {}", Kind::Addresses.accepted()),
            Kind::PortOrOff => "a whole number from 0 to 65535, or off".to_owned(),
            Kind::HostNames => {
                "names of machines such as cache.example.com, separated by spaces, or `*` for any".to_owned()
            }
            Kind::SyncInterval => format!(
                "a number of milliseconds from 0 (before every reply) to {SYNC_INTERVAL_MS_MAX}, never, or off (no log)"
            ),
            Kind::OutputLimits => {
                "one or more of: class (normal, replica, pubsub), hard limit, soft limit, soft seconds".to_owned()
            }
            Kind::LogFilter => "a log filter such as info, or warn,sutra_cache=debug".to_owned(),
            Kind::Text | Kind::Secret => "any text".to_owned(),
            Kind::SecretFile => "the path of a file that can be read".to_owned(),
        }
    }

    /// A value as it is written in the configuration file.
    #[must_use]
    pub fn in_file(self, value: &str) -> String {
        match self {
            Kind::YesNo => if matches!(value, "yes" | "true") { "true" } else { "false" }.to_owned(),
            Kind::Integer { .. }
            | Kind::Bytes { .. }
            | Kind::BytesOrPercent
            | Kind::Memory
            | Kind::SyncInterval
            | Kind::PortOrOff
                if value.parse::<i64>().is_ok() =>
            {
                value.to_owned()
            }
            Kind::Integer { .. }
            | Kind::Bytes { .. }
            | Kind::BytesOrPercent
            | Kind::Memory
            | Kind::SyncInterval
            | Kind::OneOf(_)
            | Kind::Policy
            | Kind::Addresses
            | Kind::OptionalAddresses
            | Kind::PortOrOff
            | Kind::HostNames
            | Kind::OutputLimits
            | Kind::LogFilter
            | Kind::Text
            | Kind::Secret
            | Kind::SecretFile => toml::Value::String(value.to_owned()).to_string(),
        }
    }
}

/// Policies in the order in which Redis lists them; ours last.
const POLICIES: [&str; 9] = [
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "noeviction",
    "cost",
];

/// An hour: who wants less safety says `never`.
const SYNC_INTERVAL_MS_MAX: i64 = 3_600_000;

fn within<T: PartialOrd + std::fmt::Display>(value: T, min: T, max: T) -> Result<String, Refusal> {
    if value < min || value > max {
        return Err(format!("argument must be between {min} and {max} inclusive").into());
    }
    Ok(value.to_string())
}

fn one_of(words: &[&str]) -> String {
    format!("argument(s) must be one of the following: {}", words.join(", "))
}

/// Bytes as Redis reads them (`b`, `k` = 1000, `kb` = 1024, `m`, `mb`, `g`, `gb`, in any case), and `t`, `tb`, `kib`, `mib`, `gib`, `tib`.
#[must_use]
pub fn parse_bytes(text: &str) -> Option<u64> {
    let digits_end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    let number: u64 = digits.parse().ok()?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" | "kib" => 1 << 10,
        "m" => 1_000_000,
        "mb" | "mib" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" | "gib" => 1 << 30,
        "t" => 1_000_000_000_000,
        "tb" | "tib" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// `25%` as 25; at most 100.
#[must_use]
pub fn parse_percent(text: &str) -> Option<u32> {
    let number: u32 = text.strip_suffix('%')?.parse().ok()?;
    (number <= 100).then_some(number)
}

/// Addresses separated by spaces or commas. `-` before one, Redis's "skip it if it is not there", is read over.
#[must_use]
pub fn parse_addresses(text: &str) -> Option<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    for word in text.split([' ', ',']).filter(|word| !word.is_empty()) {
        let address = match word.strip_prefix('-').unwrap_or(word) {
            "localhost" => IpAddr::from([127, 0, 0, 1]),
            "*" => IpAddr::from([0, 0, 0, 0]),
            "::*" => IpAddr::from([0_u8; 16]),
            ip => ip.parse().ok()?,
        };
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    (!addresses.is_empty()).then_some(addresses)
}

/// Names of machines in lower case, separated by single spaces.
fn host_names(text: &str) -> Result<String, Refusal> {
    let names: Vec<String> =
        text.split([' ', ',']).filter(|name| !name.is_empty()).map(str::to_ascii_lowercase).collect();
    let is_name = |name: &String| {
        name == "*" || name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
    };
    match names.iter().find(|name| !is_name(name)) {
        Some(name) => Err(format!("'{name}' is no name of a machine (no port, no scheme)").into()),
        None => Ok(names.join(" ")),
    }
}

/// The limits on waiting replies of one class of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputLimit {
    /// `normal`, `slave` or `pubsub`.
    pub class: &'static str,
    /// Bytes at which a client is closed at once; 0: none.
    pub hard_bytes: u64,
    /// Bytes at which it is closed after a while; 0: none.
    pub soft_bytes: u64,
    /// How long.
    pub soft_seconds: u64,
}

/// Reads `client-output-buffer-limit`.
///
/// # Errors
/// Redis's texts.
pub fn parse_output_limits(text: &str) -> Result<Vec<OutputLimit>, Refusal> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    if words.is_empty() || !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".into());
    }
    let mut limits = Vec::new();
    for group in words.chunks_exact(4) {
        let class = match group[0].to_ascii_lowercase().as_str() {
            "normal" => "normal",
            "slave" | "replica" => "slave",
            "pubsub" => "pubsub",
            _ => return Err("Invalid client class specified in buffer limit configuration.".into()),
        };
        let wrong = "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
        let hard_bytes = parse_bytes(group[1]).ok_or(wrong)?;
        let soft_bytes = parse_bytes(group[2]).ok_or(wrong)?;
        let soft_seconds = group[3].parse().map_err(|_| wrong)?;
        limits.push(OutputLimit { class, hard_bytes, soft_bytes, soft_seconds });
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_with_redis_units_and_binary_ones() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("17", Some(17)),
            ("1b", Some(1)),
            ("2k", Some(2000)),
            ("2kb", Some(2048)),
            ("1KiB", Some(1024)),
            ("512mb", Some(512 << 20)),
            ("512MB", Some(512 << 20)),
            ("3m", Some(3_000_000)),
            ("2gb", Some(2 << 30)),
            ("1gib", Some(1 << 30)),
            ("2g", Some(2_000_000_000)),
            ("1tb", Some(1 << 40)),
            ("", None),
            ("mb", None),
            ("-1", None),
            ("1.5gb", None),
            ("1 gb", None),
            ("5x", None),
            ("99999999999999999999", None),
            ("18446744073709551615gb", None),
        ] {
            assert_eq!(parse_bytes(text), bytes, "{text}");
        }
    }

    #[test]
    fn canonical_values_are_those_of_config_get() {
        for (kind, text, canonical) in [
            (Kind::YesNo, "TRUE", "yes"),
            (Kind::YesNo, "No", "no"),
            (Kind::Memory, "1gb", "1073741824"),
            (Kind::Memory, "75%", "75%"),
            (Kind::Memory, "0", "0"),
            (Kind::BytesOrPercent, "5%", "5%"),
            (Kind::Policy, "lru", "allkeys-lru"),
            (Kind::Policy, "COST", "cost"),
            (Kind::Addresses, "* -::*", "0.0.0.0 ::"),
            (Kind::Addresses, "localhost,::1", "127.0.0.1 ::1"),
            (Kind::PortOrOff, "OFF", "off"),
            (Kind::PortOrOff, "8888", "8888"),
            (Kind::OptionalAddresses, "", ""),
            (Kind::HostNames, "Cache.example.com,  *", "cache.example.com *"),
            (Kind::SyncInterval, "OFF", "off"),
            (Kind::SyncInterval, "5000", "5000"),
            (Kind::OutputLimits, "replica 1mb 0 5 normal 0 0 0", "slave 1048576 0 5 normal 0 0 0"),
        ] {
            assert_eq!(kind.canonical(text).as_deref(), Ok(canonical), "{text}");
        }
    }

    #[test]
    fn each_kind_refuses_what_it_cannot_mean() {
        for (kind, text) in [
            (Kind::YesNo, "maybe"),
            (Kind::Integer { min: 0, max: 5 }, "6"),
            (Kind::Integer { min: 0, max: 5 }, "x"),
            (Kind::Bytes { min: 10 }, "9"),
            (Kind::Memory, "1mb"),
            (Kind::Memory, "0%"),
            (Kind::Memory, "101%"),
            (Kind::BytesOrPercent, "x%"),
            (Kind::OneOf(&["a", "b"]), "c"),
            (Kind::Policy, "mru"),
            (Kind::Addresses, "somewhere"),
            (Kind::Addresses, ""),
            (Kind::SyncInterval, "-1"),
            (Kind::SyncInterval, "sometimes"),
            (Kind::PortOrOff, "65536"),
            (Kind::PortOrOff, "-1"),
            (Kind::OptionalAddresses, "somewhere"),
            (Kind::HostNames, "cache.example.com:80"),
            (Kind::OutputLimits, "normal 0 0"),
            (Kind::LogFilter, "a=b=c"),
        ] {
            assert!(kind.canonical(text).is_err(), "{kind:?} {text}");
            assert!(!kind.accepted().is_empty());
        }
    }
}
