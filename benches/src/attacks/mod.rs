//! Hostile clients: does memory stay bounded, do the others keep their keys and their latency?

mod attack;
mod patterns;

use crate::arguments::Arguments;
use crate::probe::watch;
use crate::process::{Kind, Server, Setup};
use crate::random::{fill, key};
use crate::table::{Cell, Report, Table, median};
use crate::wire::Values;
use attack::Attack;
use std::io;
use std::time::Duration;

const MAX_MEMORY_BYTES: u64 = 128 << 20;
/// What the process may have beyond the limit: a part of it, and a fixed amount for itself.
const SLACK_BYTES: u64 = MAX_MEMORY_BYTES / 20 + (32 << 20);
/// The other clients' keys: half of the limit.
const KEYS: u64 = 20_000;
const VALUE_BYTES: usize = 3072;
const BIG_KEY: &[u8] = b"attack:big";
const HASH_KEY: &[u8] = b"attack:hash";
/// How often p99 may grow.
const LATENCY_RATIO_MAX: f64 = 2.0;
const LIMIT_MIB: f64 = (MAX_MEMORY_BYTES + SLACK_BYTES) as f64 / 1_048_576.0;

/// What an attack did to a server.
#[derive(Debug, Clone, Copy)]
struct Suffered {
    rss_bytes_max: u64,
    keys_lost: u64,
    p99_us_before: f64,
    p99_us: f64,
    failures: u64,
    /// It ended, or did not answer any more.
    died: bool,
}

impl Suffered {
    fn ratio(&self) -> f64 {
        self.p99_us / self.p99_us_before
    }

    fn is_bounded(&self) -> bool {
        !self.died && self.rss_bytes_max <= MAX_MEMORY_BYTES + SLACK_BYTES
    }

    fn is_unnoticed(&self) -> bool {
        !self.died && self.failures == 0 && self.ratio() <= LATENCY_RATIO_MAX
    }

    fn cells(&self) -> Vec<Cell> {
        let lost = if self.died { "**dead or stuck**".into() } else { self.keys_lost.into() };
        vec![
            Cell::Number(self.rss_bytes_max as f64 / 1_048_576.0, 0),
            lost,
            Cell::Number(self.p99_us_before, 0),
            Cell::Number(self.p99_us, 0),
            Cell::Number(self.ratio(), 1),
        ]
    }
}

/// Plays every pattern (or those whose name contains `--pattern`) against each server and adds the table.
pub(crate) fn run(arguments: &Arguments, report: &mut Report) -> io::Result<()> {
    let wanted = |attack: &Attack| arguments.pattern.as_ref().is_none_or(|text| attack.name.contains(text.as_str()));
    let attacks: Vec<_> = patterns::all().into_iter().filter(wanted).collect();
    let duration = Duration::from_millis(if arguments.quick { 120 } else { 700 });
    let ours = Setup::new(arguments.ours()).max_memory(MAX_MEMORY_BYTES);
    let peer = (arguments.peers && !arguments.quick).then(|| Setup::new(Kind::Redis).max_memory(MAX_MEMORY_BYTES));
    let mut table = Table::new(
        format!("Attacks: {} patterns, {} ms each", attacks.len(), duration.as_millis()),
        &[
            "pattern",
            "max RSS MiB",
            "keys lost",
            "p99 µs before",
            "during",
            "×",
            "redis RSS MiB",
            "redis keys lost",
            "redis p99 before",
            "redis during",
            "redis ×",
        ],
    );
    let our_results = suffer_all(setup_of(ours), &attacks, duration)?;
    let peer_results = peer.map(|peer| suffer_all(setup_of(peer), &attacks, duration)).transpose()?;
    for (index, attack) in attacks.iter().enumerate() {
        let mut cells = vec![attack.name.into()];
        cells.extend(our_results[index].cells());
        match &peer_results {
            Some(results) => cells.extend(results[index].cells()),
            None => cells.extend(vec![Cell::Missing; 5]),
        }
        table.row(cells);
    }
    table.note(summary("sutra", &our_results));
    if let Some(results) = &peer_results {
        table.note(summary("redis", results));
    }
    table.note(format!(
        "MAX_MEMORY {} MiB, {KEYS} keys of others that fill half of it; the limit of RSS is MAX_MEMORY + 5 % + 32 MiB = {LIMIT_MIB:.0} MiB. \
         p99 is of GETs of a well-behaved client, one each 250 µs, just before and during the attack. Floods send 100 Mbit/s together.",
        MAX_MEMORY_BYTES >> 20
    ));
    report.add(table);
    Ok(())
}

fn setup_of(setup: Setup) -> Setup {
    eprintln!("attacks: {}", setup.kind.name());
    setup
}

fn summary(name: &str, results: &[Suffered]) -> String {
    let count = |good: fn(&Suffered) -> bool| results.iter().filter(|suffered| good(suffered)).count();
    format!(
        "{name}: of {} patterns memory was bounded in {}, no key of others was lost in {}, others' p99 stayed within × {LATENCY_RATIO_MAX:.0} in {} \
         (median × {:.1}) and within 1 ms in {}; it lived through {}.",
        results.len(),
        count(Suffered::is_bounded),
        count(|suffered| !suffered.died && suffered.keys_lost == 0),
        count(Suffered::is_unnoticed),
        median(results.iter().map(Suffered::ratio)),
        count(|suffered| !suffered.died && suffered.p99_us <= 1000.0),
        count(|suffered| !suffered.died),
    )
}

fn suffer_all(setup: Setup, attacks: &[Attack], duration: Duration) -> io::Result<Vec<Suffered>> {
    let mut server = Server::start(setup.clone())?;
    populate(&server)?;
    let mut results = Vec::new();
    for attack in attacks {
        let suffered = match suffer(&mut server, attack, duration) {
            Ok(suffered) => suffered,
            Err(error) => {
                eprintln!("attacks: {}: {error}", attack.name);
                let rss_bytes_max = server.rss_bytes();
                Suffered {
                    rss_bytes_max,
                    keys_lost: KEYS,
                    p99_us_before: f64::NAN,
                    p99_us: f64::NAN,
                    failures: 1,
                    died: true,
                }
            }
        };
        // Each pattern finds the server as the first one did.
        if suffered.died || suffered.keys_lost > 0 || !suffered.is_bounded() {
            drop(server);
            server = Server::start(setup.clone())?;
            populate(&server)?;
        }
        results.push(suffered);
    }
    Ok(results)
}

fn suffer(server: &mut Server, attack: &Attack, duration: Duration) -> io::Result<Suffered> {
    let (calm, ()) = watch(server, KEYS, duration, |_| ())?;
    let address = server.address;
    let (seen, _) = watch(server, KEYS, duration, |stop| attack.run(address, stop))?;
    let died = !server.is_alive();
    let keys_lost = if died { KEYS } else { KEYS - present(server)? };
    Ok(Suffered {
        rss_bytes_max: seen.rss_bytes_max,
        keys_lost,
        p99_us_before: calm.latency.quantile_us(0.99),
        p99_us: seen.latency.quantile_us(0.99),
        failures: seen.failures,
        died,
    })
}

fn populate(server: &Server) -> io::Result<()> {
    let mut client = server.client()?;
    client.load(KEYS, Values::OfTheirKey { bytes: VALUE_BYTES }, 0)?;
    let mut big = vec![0; 1 << 20];
    fill(0, &mut big);
    client.queue(&[b"SET", BIG_KEY, &big]);
    client.queue(&[b"HSET", HASH_KEY, b"field", b"value"]);
    client.flush()?;
    client.accepted()?;
    client.accepted()
}

/// How many of the others' keys are still there; what the attack left behind is removed.
fn present(server: &Server) -> io::Result<u64> {
    const BURST: u64 = 500;
    let mut client = server.client()?;
    client.call(&[b"DEL", b"k", b"attack:bits", b"attack:range", b"attack:dump"])?;
    let mut present = 0;
    for start in (0..KEYS).step_by(BURST as usize) {
        let names: Vec<_> = (start..start + BURST).map(key).collect();
        let mut arguments: Vec<&[u8]> = vec![b"EXISTS"];
        arguments.extend(names.iter().map(|name| name.as_slice()));
        present += client.number(&arguments)?;
    }
    Ok(present)
}
