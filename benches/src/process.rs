//! Server processes: started on their core, asked for their CPU time and memory, and ended whatever happens.

use crate::machine::{CLIENT_CORE, SERVER_CORE, first_number, pause, pin};
use crate::wire::Client;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a server may take until it serves.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The processes that live, for [`end_all`]: a panic aborts, and then no guard is dropped.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Which server.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// Ours: the binary.
    Ours(PathBuf),
    /// `redis-server` of the system.
    Redis,
    /// `memcached` of the system.
    Memcached,
}

impl Kind {
    /// What tables call it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Kind::Ours(_) => "sutra",
            Kind::Redis => "redis",
            Kind::Memcached => "memcached",
        }
    }
}

/// How a server is started.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) kind: Kind,
    /// The limit; 0: the peer's default, which is none.
    pub(crate) max_memory_bytes: u64,
    /// redis: append-only file, synced each second. Ours always has its log, with the same interval.
    pub(crate) append_only: bool,
    /// The eviction policy, in Redis's words.
    pub(crate) policy: &'static str,
}

impl Setup {
    pub(crate) fn new(kind: Kind) -> Setup {
        Setup { kind, max_memory_bytes: 0, append_only: false, policy: "allkeys-lru" }
    }

    pub(crate) fn max_memory(mut self, bytes: u64) -> Setup {
        self.max_memory_bytes = bytes;
        self
    }

    pub(crate) fn append_only(mut self) -> Setup {
        self.append_only = true;
        self
    }
}

/// A running server; dropping it ends the process and removes its directory.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) setup: Setup,
    pub(crate) address: SocketAddr,
    child: Child,
    directory: Scratch,
}

impl Server {
    /// Starts a server in an empty directory and waits until it serves.
    pub(crate) fn start(setup: Setup) -> io::Result<Server> {
        let directory = Scratch::new(setup.kind.name())?;
        let address = free_address()?;
        let child = spawn(&setup, address, directory.path())?;
        let mut server = Server { setup, address, child, directory };
        server.wait_until_it_serves().map_err(|error| {
            let said = fs::read_to_string(server.directory.path().join("stderr")).unwrap_or_default();
            io::Error::new(error.kind(), format!("{}: {error}; it said: {said}", server.setup.kind.name()))
        })?;
        Ok(server)
    }

    fn wait_until_it_serves(&mut self) -> io::Result<()> {
        let began = Instant::now();
        loop {
            if let Ok(stream) = TcpStream::connect(self.address) {
                drop(stream);
                if self.setup.kind == Kind::Memcached {
                    return Ok(());
                }
                let mut client = Client::connect(self.address)?;
                if client.call(&[b"PING"])? == sutra_protocol::Frame::Simple("PONG".into()) {
                    return Ok(());
                }
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("ended at once: {status}")));
            }
            if began.elapsed() > START_TIMEOUT {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "does not serve"));
            }
            pause(Duration::from_millis(5));
        }
    }

    /// Kills it with SIGKILL, as a crash would, and starts it again on the same directory and address, without waiting until it
    /// serves. Returns the moment of the start.
    pub(crate) fn crash_and_restart(&mut self) -> io::Result<Instant> {
        self.end();
        let began = Instant::now();
        self.child = spawn(&self.setup, self.address, self.directory.path())?;
        Ok(began)
    }

    pub(crate) fn client(&self) -> io::Result<Client> {
        Client::connect(self.address)
    }

    /// CPU time of all its threads, in nanoseconds.
    pub(crate) fn cpu_ns(&self) -> u64 {
        let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", self.child.id())) else { return 0 };
        tasks
            .flatten()
            .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok())
            .filter_map(|line| first_number(&line))
            .sum()
    }

    /// Resident bytes: anonymous, file and shared pages together, so mapped segments count.
    pub(crate) fn rss_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let parts = ["RssAnon:", "RssFile:", "RssShmem:"];
        let kib = |name| status.lines().find_map(|line| line.strip_prefix(name)).and_then(first_number).unwrap_or(0);
        parts.into_iter().map(kib).sum::<u64>() * 1024
    }

    /// Resident bytes when they no longer move, after background work such as rehashing.
    pub(crate) fn settled_rss_bytes(&self) -> u64 {
        let mut last = self.rss_bytes();
        for _ in 0..20 {
            pause(Duration::from_millis(200));
            let now = self.rss_bytes();
            if now.abs_diff(last) < 256 * 1024 {
                return now;
            }
            last = now;
        }
        last
    }

    /// Bytes of disk that its directory occupies: allocated blocks, not lengths.
    pub(crate) fn disk_bytes(&self) -> u64 {
        allocated_bytes(self.directory.path())
    }

    /// Whether the process still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn end(&mut self) {
        let pid = pid_of(&self.child);
        let _ = self.child.kill();
        let _ = self.child.wait();
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).retain(|running| Some(*running) != pid);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// Ends every server that still runs: for the panic hook.
pub(crate) fn end_all() {
    for pid in RUNNING.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn spawn(setup: &Setup, address: SocketAddr, directory: &Path) -> io::Result<Child> {
    let port = address.port().to_string();
    let memory = setup.max_memory_bytes.to_string();
    let mut command;
    match &setup.kind {
        Kind::Ours(binary) => {
            command = prepared(binary.as_os_str());
            command
                .env("STORAGE_HOST", "127.0.0.1")
                .env("STORAGE_PORT", port)
                .env("HTTP_PORT", "off")
                .env("STORAGE_PATH", directory.join("data"))
                .env("WAL_SYNC_INTERVAL_MS", "1000")
                .env("EVICTION_POLICY", setup.policy)
                .env("RUST_LOG", "warn");
            if setup.max_memory_bytes > 0 {
                command.env("MAX_MEMORY", memory);
            }
        }
        Kind::Redis => {
            command = prepared("redis-server".as_ref());
            command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--daemonize", "no", "--dir"]);
            command.arg(directory);
            command.args(["--maxmemory", &memory, "--maxmemory-policy", setup.policy]);
            command.args(["--appendonly", if setup.append_only { "yes" } else { "no" }, "--appendfsync", "everysec"]);
        }
        Kind::Memcached => {
            let mebibytes = (setup.max_memory_bytes >> 20).max(64).to_string();
            command = prepared("memcached".as_ref());
            command.args(["-l", "127.0.0.1", "-U", "0", "-u", "root", "-t", "1", "-m", &mebibytes, "-p", &port]);
        }
    }
    let log = fs::OpenOptions::new().create(true).append(true).open(directory.join("stderr"))?;
    command.current_dir(directory).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    // A child inherits the core of the thread that starts it.
    pin(SERVER_CORE);
    let child = command.spawn();
    pin(CLIENT_CORE);
    let child = child.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", setup.kind.name())))?;
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner).extend(pid_of(&child));
    Ok(child)
}

/// A command that dies with the driver, even if that is killed: through util-linux's `setpriv`, where there is one.
fn prepared(program: &std::ffi::OsStr) -> Command {
    if !Path::new("/usr/bin/setpriv").exists() {
        return Command::new(program);
    }
    let mut command = Command::new("/usr/bin/setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

fn pid_of(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// A port that nobody has, as far as one can know before using it.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn allocated_bytes(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => allocated_bytes(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(bytes).sum()
}

/// A directory that is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> io::Result<Scratch> {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sutra-bench-{}-{number}-{name}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Scratch(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
