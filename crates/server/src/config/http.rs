//! The rows of the table that are about HTTP.

use super::kind::{Kind, parse_addresses};
use super::setting::Setting;
use super::table::start;

pub(super) const PORT: Setting = start(
    "http-port",
    Kind::PortOrOff,
    "8888",
    |s| s.http.port.map_or_else(|| "off".to_owned(), |port| port.to_string()),
    |s, v| s.http.port = v.parse().ok(),
)
.variables(&["HTTP_PORT"])
.doc(
    "The TCP port of HTTP: health, readiness, statistics, metrics; 0 asks the system for a free one, which the log names; `off`: none. If \
     the default is taken, the server goes on without HTTP and says so.",
);

pub(super) const HOST: Setting = start(
    "http-host",
    Kind::OptionalAddresses,
    "",
    |s| s.http.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    |s, v| s.http.hosts = parse_addresses(v).unwrap_or_default(),
)
.variables(&["HTTP_HOST"])
.doc("The addresses on which HTTP is answered; empty: those of `bind`. The same rule about passwords applies.");

pub(super) const ALLOWED_HOSTS: Setting = start(
    "http-allowed-hosts",
    Kind::HostNames,
    "",
    |s| s.http.allowed_hosts.join(" "),
    |s, v| s.http.allowed_hosts = v.split_ascii_whitespace().map(str::to_owned).collect(),
)
.variables(&["HTTP_ALLOWED_HOSTS"])
.doc(
    "More names under which HTTP may be asked (the header `Host`), or `*` for any. Addresses, `localhost`, names without a dot and those \
     that end in `.localhost`, `.internal`, `.svc` or `.cluster.local` always may; others could be a web page's that has its own name \
     lead here.",
);
