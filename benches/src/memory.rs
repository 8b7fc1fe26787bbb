//! Memory per entry: how much a server's resident bytes grow, beyond keys and values.

use crate::arguments::Arguments;
use crate::process::{Kind, Server, Setup};
use crate::random::{KEY_BYTES, fill, key};
use crate::table::{Cell, Report, Table};
use crate::wire::Values;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::TcpStream;

/// Room for everything, so that nothing is evicted.
const MAX_MEMORY_BYTES: u64 = 4 << 30;
/// Long enough that no entry expires while it is measured.
const TTL_SECONDS: u64 = 86_400;

#[derive(Debug, Clone, Copy)]
struct Population {
    entries: u64,
    value_bytes: usize,
    goal_bytes: u64,
}

/// Fills each server with each population and adds the table.
pub(crate) fn run(arguments: &Arguments, report: &mut Report) -> io::Result<()> {
    let shrink = if arguments.quick { 5 } else { 1 };
    let populations = [
        Population { entries: 1_000_000 / shrink, value_bytes: 64, goal_bytes: 48 },
        Population { entries: 200_000 / shrink, value_bytes: 3072, goal_bytes: 96 },
    ];
    let mut table = Table::new(
        "Memory: growth of resident bytes per entry",
        &[
            "values",
            "server",
            "TTL",
            "entries",
            "MiB before",
            "MiB grown",
            "bytes per entry",
            "beyond key and value",
            "goal",
        ],
    );
    for population in populations {
        let ours = (arguments.ours(), true);
        let peers = [(Kind::Redis, false), (Kind::Redis, true), (Kind::Memcached, true)];
        for (kind, ttl) in [ours].into_iter().chain(peers.into_iter().filter(|_| arguments.peers)) {
            eprintln!("memory: {} × {} B in {}", population.entries, population.value_bytes, kind.name());
            match measure(&kind, population, ttl) {
                Ok(cells) => table.row(cells),
                Err(error) => table.note(format!("**{} × {} B: {error}**", population.entries, population.value_bytes)),
            }
        }
    }
    table.note(format!(
        "Resident: anonymous, file-mapped and shared pages together, so ours includes its mapped segments. Keys have {KEY_BYTES} bytes."
    ));
    report.add(table);
    Ok(())
}

fn measure(kind: &Kind, population: Population, ttl: bool) -> io::Result<Vec<Cell>> {
    let Population { entries, value_bytes, goal_bytes } = population;
    let server = Server::start(Setup::new(kind.clone()).max_memory(MAX_MEMORY_BYTES))?;
    let ttl_seconds = if ttl { TTL_SECONDS } else { 0 };
    let before = server.settled_rss_bytes();
    match kind {
        Kind::Memcached => load_memcached(&server, entries, value_bytes, ttl_seconds)?,
        Kind::Ours(_) | Kind::Redis => {
            let mut client = server.client()?;
            client.load(entries, Values::OfTheirKey { bytes: value_bytes }, ttl_seconds)?;
            let stored = client.number(&[b"DBSIZE"])?;
            if stored != entries {
                return Err(io::Error::other(format!("{} holds {stored} instead", kind.name())));
            }
        }
    }
    let grown = server.settled_rss_bytes().saturating_sub(before);
    let each = grown as f64 / entries as f64;
    let goal = if matches!(kind, Kind::Ours(_)) { format!("≤ {goal_bytes}").into() } else { "".into() };
    Ok(vec![
        format!("{value_bytes} B").into(),
        kind.name().into(),
        if ttl { "yes" } else { "no" }.into(),
        entries.into(),
        Cell::Number(before as f64 / 1_048_576.0, 1),
        Cell::Number(grown as f64 / 1_048_576.0, 1),
        Cell::Number(each, 1),
        Cell::Number(each - (value_bytes + KEY_BYTES) as f64, 1),
        goal,
    ])
}

/// The same entries through memcached's text protocol.
fn load_memcached(server: &Server, entries: u64, value_bytes: usize, ttl_seconds: u64) -> io::Result<()> {
    const STORED: &[u8] = b"STORED\r\n";
    const BURST: u64 = 64;
    let mut stream = TcpStream::connect(server.address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(60)))?;
    let (mut requests, mut value, mut head) = (Vec::new(), vec![0; value_bytes], String::new());
    let mut replies = vec![0; STORED.len() * BURST as usize];
    let mut next = 0;
    while next < entries {
        requests.clear();
        let end = (next + BURST).min(entries);
        for number in next..end {
            fill(number, &mut value);
            head.clear();
            let name = key(number);
            let name = String::from_utf8_lossy(&name);
            let _ = write!(head, "set {name} 0 {ttl_seconds} {value_bytes}\r\n");
            requests.extend_from_slice(head.as_bytes());
            requests.extend_from_slice(&value);
            requests.extend_from_slice(b"\r\n");
        }
        stream.write_all(&requests)?;
        let replies = &mut replies[..STORED.len() * (end - next) as usize];
        stream.read_exact(replies)?;
        if !replies.chunks(STORED.len()).all(|reply| reply == STORED) {
            return Err(io::Error::other("memcached did not store an item"));
        }
        next = end;
    }
    Ok(())
}
