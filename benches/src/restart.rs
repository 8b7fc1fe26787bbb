//! Restart after a crash: from exec to the first correct answer, and whether every acknowledged byte is there.

use crate::arguments::Arguments;
use crate::machine::pause;
use crate::process::{Kind, Server, Setup};
use crate::random::{KEY_BYTES, Random, fill, key};
use crate::table::{Cell, Report, Table, median};
use crate::wire::{Client, Values, Verified};
use std::io;
use std::time::{Duration, Instant};
use sutra_protocol::Frame;

const VALUE_BYTES: usize = 3072;
const MAX_MEMORY_BYTES: u64 = 4 << 30;
/// How long a restart may take.
const RESTART_TIMEOUT: Duration = Duration::from_secs(60);
/// How often the new process is asked.
const ASK_INTERVAL: Duration = Duration::from_micros(500);

/// Crashes and restarts each server a few times and adds the table.
pub(crate) fn run(arguments: &Arguments, report: &mut Report) -> io::Result<()> {
    let (entries, crashes) = if arguments.quick { (20_000, 1) } else { (200_000, 3) };
    let mut table = Table::new(
        format!("Restart after kill -9: {entries} × {VALUE_BYTES} B, median and worst of {crashes}"),
        &[
            "server",
            "exec to first correct GET, ms",
            "worst, ms",
            "goal",
            "right",
            "missing",
            "wrong",
            "disk ÷ data",
            "goal for disk",
        ],
    );
    let peer = arguments.peers.then(|| Setup::new(Kind::Redis).append_only());
    let ours = Setup::new(arguments.ours()).max_memory(MAX_MEMORY_BYTES);
    for setup in [Some(ours), peer].into_iter().flatten() {
        let name = setup.kind.name();
        eprintln!("restart: {name}");
        match measure(setup, entries, crashes) {
            Ok(cells) => table.row(cells),
            Err(error) => table.note(format!("**{name}: {error}**")),
        }
    }
    table.note(
        "Killed as soon as the last write was acknowledged, and again after each check; `right`, `missing` and `wrong` are of the \
         worst check of every key, byte for byte. Disk: allocated blocks of the whole directory before the first crash.",
    );
    report.add(table);
    Ok(())
}

fn measure(setup: Setup, entries: u64, crashes: usize) -> io::Result<Vec<Cell>> {
    let is_ours = matches!(setup.kind, Kind::Ours(_));
    let name = if is_ours { "sutra" } else { "redis AOF everysec" };
    let mut server = Server::start(setup)?;
    server.client()?.load(entries, Values::OfTheirKey { bytes: VALUE_BYTES }, 0)?;
    let disk = server.disk_bytes() as f64 / (entries as f64 * (VALUE_BYTES + KEY_BYTES) as f64);
    let mut milliseconds = Vec::new();
    let mut worst = Verified { right: entries, ..Verified::default() };
    let mut random = Random::new(3);
    for _ in 0..crashes {
        let began = server.crash_and_restart()?;
        first_correct_answer(&mut server, random.below(entries), began)?;
        milliseconds.push(began.elapsed().as_secs_f64() * 1000.0);
        let verified = server.client()?.verify(entries, VALUE_BYTES)?;
        if verified.right < worst.right {
            worst = verified;
        }
    }
    let slowest = milliseconds.iter().copied().fold(0.0, f64::max);
    Ok(vec![
        name.into(),
        Cell::Number(median(milliseconds), 0),
        Cell::Number(slowest, 0),
        if is_ours { "≤ 250" } else { "" }.into(),
        worst.right.into(),
        worst.missing.into(),
        worst.wrong.into(),
        Cell::Number(disk, 3),
        if is_ours { "≤ 1.10" } else { "" }.into(),
    ])
}

/// Waits until the server gives the value of a key. A server that is still loading (an error) or has lost the key is asked again.
fn first_correct_answer(server: &mut Server, number: u64, began: Instant) -> io::Result<()> {
    let mut value = vec![0; VALUE_BYTES];
    fill(number, &mut value);
    let mut last = "nothing".to_owned();
    while began.elapsed() < RESTART_TIMEOUT {
        if let Ok(mut client) = Client::connect(server.address) {
            match client.call(&[b"GET", &key(number)]) {
                Ok(Frame::Bulk(found)) if found == value => return Ok(()),
                Ok(Frame::Bulk(_)) => return Err(io::Error::other("the first answer was a wrong value")),
                Ok(other) => last = format!("{other:?}"),
                Err(error) => last = error.to_string(),
            }
        }
        if !server.is_alive() {
            return Err(io::Error::other("the new process ended"));
        }
        pause(ASK_INTERVAL);
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, format!("no correct answer after the restart; the last was {last}")))
}
