//! The command line.

use crate::process::{Kind, Server, Setup};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
Usage: cargo run --release -p sutra-bench -- COMMAND [OPTIONS]

Commands
  load      cost per operation beside redis-server
  memory    resident bytes per entry beside redis-server and memcached
  restart   from exec to the first correct GET after kill -9, then every byte compared
  traces    hit ratios of cache traces beside redis-server and exact LRU
  storm     mixed writes at the memory limit: does it hold?
  attacks   hostile clients: do the others notice?
  meaning   lookups, invalidations, graphs and inserts of vectors, beside faiss, usearch and hnswlib
  client    the client library beside the crates redis and fred
  all       everything

Options
  --server PATH    our binary; otherwise it is built by the same cargo
  --quick          small and short, about two minutes for `all`
  --rounds N       interleaved rounds of `load` and `client` (5)
  --phase SECONDS  length of one measurement of `load` and `client` (1.0)
  --rows TEXT      only rows of `load` and `client` whose name contains TEXT; for `meaning`, how many vectors
  --no-half-load   skip the measurement at half load
  --other PATH     `load` beside another binary of ours in place of redis: an earlier commit's
  --peers no       skip the peers of memory, restart, traces, storm, attacks, meaning and client
  --graph-peers A,B  only graphs of `meaning` whose name contains A or B: usearch i8, usearch f32, hnswlib, faiss
  --trace FILE     an .evt trace (repeatable); otherwise a small synthetic one
  --rate N         requests per second of the paced replay (5000; 0 skips it)
  --seconds N      length of the storm (20)
  --pattern TEXT   only attacks, or parts of `meaning` (ranges, lookups, graphs, inserts, visibility, footprint, embedding)
                   and `client` (calls, l1, embeddings, misses, coherence), whose name contains TEXT
  --dim N          dimensions of the vectors of `meaning`
  --data FILE      real vectors for its lookups (.npy, f32); otherwise dev.npy of $SUTRA_DATA, otherwise generated ones
  --python PATH    the interpreter that has its peers (python3)
  --nice N         priority of servers and driver, for a machine that is shared (none: as started)
  --json FILE      the tables for programs
";

/// The command line, read.
#[derive(Debug, Clone)]
pub(crate) struct Arguments {
    pub(crate) command: String,
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) phase: Duration,
    pub(crate) half_load: bool,
    pub(crate) peers: bool,
    pub(crate) rate: u64,
    pub(crate) storm: Duration,
    pub(crate) traces: Vec<PathBuf>,
    pub(crate) json: Option<PathBuf>,
    pub(crate) pattern: Option<String>,
    pub(crate) nice: Option<i32>,
    pub(crate) other: Option<PathBuf>,
    pub(crate) dim: Option<usize>,
    pub(crate) data: Option<PathBuf>,
    pub(crate) python: PathBuf,
    pub(crate) graph_peers: String,
    rows: Option<String>,
    server: Option<PathBuf>,
}

impl Arguments {
    /// Reads the words behind the program's name.
    pub(crate) fn read(words: impl IntoIterator<Item = String>) -> Result<Arguments, String> {
        let mut words = words.into_iter();
        let command = words.next().ok_or("a command is missing")?;
        let mut arguments = Arguments {
            command,
            quick: false,
            rounds: 5,
            phase: Duration::from_secs(1),
            half_load: true,
            peers: true,
            rate: 5000,
            storm: Duration::from_secs(20),
            traces: Vec::new(),
            json: None,
            pattern: None,
            nice: None,
            other: None,
            dim: None,
            data: None,
            python: "python3".into(),
            graph_peers: String::new(),
            rows: None,
            server: None,
        };
        while let Some(option) = words.next() {
            match option.as_str() {
                "--quick" => {
                    arguments.quick = true;
                    arguments.rounds = 1;
                    arguments.phase = Duration::from_millis(250);
                    arguments.storm = Duration::from_secs(3);
                    continue;
                }
                "--no-half-load" => {
                    arguments.half_load = false;
                    continue;
                }
                _ => {}
            }
            let value = words.next().ok_or_else(|| format!("{option} needs a value, or is unknown"))?;
            let bad = || format!("{option} {value}: not a number that fits");
            match option.as_str() {
                "--server" => arguments.server = Some(program(&value)?),
                "--rounds" => arguments.rounds = value.parse().ok().filter(|count| *count > 0).ok_or_else(bad)?,
                "--phase" => arguments.phase = seconds(&value).ok_or_else(bad)?,
                "--seconds" => arguments.storm = seconds(&value).ok_or_else(bad)?,
                "--rows" => arguments.rows = Some(value),
                "--other" => arguments.other = Some(program(&value)?),
                "--dim" => arguments.dim = Some(value.parse().ok().filter(|dim| *dim > 0).ok_or_else(bad)?),
                "--data" => arguments.data = Some(value.into()),
                "--graph-peers" => arguments.graph_peers = value,
                "--python" => arguments.python = value.into(),
                "--peers" => arguments.peers = value != "no",
                "--trace" => arguments.traces.push(value.into()),
                "--rate" => arguments.rate = value.parse().map_err(|_| bad())?,
                "--pattern" => arguments.pattern = Some(value),
                "--nice" => arguments.nice = Some(value.parse().map_err(|_| bad())?),
                "--json" => arguments.json = Some(value.into()),
                _ => return Err(format!("{option} is unknown")),
            }
        }
        Ok(arguments)
    }

    /// Whether a row of `load` is asked for.
    pub(crate) fn wants_row(&self, name: &str) -> bool {
        self.rows.as_ref().is_none_or(|wanted| name.contains(wanted.as_str()))
    }

    /// How many vectors are asked for, if `--rows` is a number.
    pub(crate) fn row_count(&self) -> Option<usize> {
        self.rows.as_ref()?.parse().ok().filter(|count| *count > 0)
    }

    /// Sees to it that our binary is there: the one that was named, or the one that the same cargo builds now.
    pub(crate) fn find_server(&mut self) -> io::Result<()> {
        if self.server.is_some() {
            return Ok(());
        }
        let own = std::env::current_exe()?;
        let profile_directory = own.parent().unwrap_or(Path::new("."));
        if let Ok(cargo) = std::env::var("CARGO") {
            let mut build = Command::new(cargo);
            build.args(["build", "--quiet", "-p", "sutra-cache"]);
            if profile_directory.file_name().is_some_and(|name| name == "release") {
                build.arg("--release");
            }
            if let Some(target_directory) = profile_directory.parent() {
                build.arg("--target-dir").arg(target_directory);
            }
            if !build.status()?.success() {
                return Err(io::Error::other("the server could not be built"));
            }
        }
        self.server = Some(profile_directory.join("sutra-cache"));
        Ok(())
    }

    /// Our server as a kind of process. [`Arguments::find_server`] comes first.
    pub(crate) fn ours(&self) -> Kind {
        Kind::Ours(self.server.clone().unwrap_or_else(|| "sutra-cache".into()))
    }

    /// Starts ours with its defaults but for the memory limit.
    pub(crate) fn start_ours(&self, max_memory_bytes: u64) -> io::Result<Server> {
        Server::start(Setup::new(self.ours()).max_memory(max_memory_bytes))
    }
}

/// The whole path of a program: servers run in directories of their own.
fn program(path: &str) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("{path}: {error}"))
}

fn seconds(text: &str) -> Option<Duration> {
    text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).filter(|length| !length.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Arguments, String> {
        Arguments::read(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn options_are_read_and_wrong_ones_are_named() {
        let arguments = read("load --rounds 3 --rows SET --phase 0.5 --no-half-load").expect("right");
        assert_eq!((arguments.rounds, arguments.half_load), (3, false));
        assert_eq!(arguments.phase, Duration::from_millis(500));
        assert!(arguments.wants_row("SET 16 B, pipeline 1") && !arguments.wants_row("GET 16 B, pipeline 1"));
        for (line, named) in
            [("load --rounds x", "--rounds x"), ("load --rounds 0", "--rounds 0"), ("all --what 1", "--what")]
        {
            let error = read(line).expect_err(line);
            assert!(error.contains(named), "{error}");
        }
        assert!(read("load --json").is_err());
    }
}
