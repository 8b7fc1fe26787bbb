//! What the figures were measured on, and where threads run.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::fs;
use std::time::Duration;

/// The core of the servers.
pub(crate) const SERVER_CORE: usize = 0;
/// The core of the driver.
pub(crate) const CLIENT_CORE: usize = 1;

/// Moves the calling thread (and what it starts from now on) to one core. On a machine without that core nothing happens.
pub(crate) fn pin(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    let _ = sched_setaffinity(None, &cores);
}

/// Lets the calling thread, and what it starts from now on, run on either core.
pub(crate) fn unpin() {
    let mut cores = CpuSet::new();
    cores.set(SERVER_CORE);
    cores.set(CLIENT_CORE);
    let _ = sched_setaffinity(None, &cores);
}

/// How much nicer a thread that disturbs is than one that measures.
const PRIORITY_STEP: i32 = 10;

/// Lets the calling thread, and what it starts from now on, go before others on a machine that is shared. Needs the right to.
///
/// Where the kernel schedules each session as a group, priorities count only within the group, so the group gets the same.
pub(crate) fn raise_priority(nice: i32) -> std::io::Result<()> {
    let _ = fs::write("/proc/self/autogroup", nice.to_string());
    Ok(rustix::process::setpriority_process(None, nice)?)
}

/// Lets the calling thread go after those that measure.
pub(crate) fn lower_priority() {
    let nice = rustix::process::getpriority_process(None).unwrap_or(0);
    let _ = rustix::process::setpriority_process(None, (nice + PRIORITY_STEP).min(19));
}

/// One line: cores, model, kernel, memory, and how busy the machine was before.
pub(crate) fn facts() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    let model = model.trim_start_matches([' ', '\t', ':']);
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory_kib =
        meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")).and_then(first_number).unwrap_or(0);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    format!(
        "{cores} × {model}, Linux {}, {:.0} GiB; load average {load} before the run",
        kernel.trim(),
        memory_kib as f64 / 1_048_576.0
    )
}

/// Whether the machine has a core for each of the server and the driver.
pub(crate) fn has_two_cores() -> bool {
    sched_getaffinity(None).is_ok_and(|cores| cores.is_set(SERVER_CORE) && cores.is_set(CLIENT_CORE))
}

/// The first number in a line of `/proc`.
pub(crate) fn first_number(line: &str) -> Option<u64> {
    line.split_whitespace().find_map(|word| word.parse().ok())
}

/// Lets time pass: between two looks at another process, which announces nothing.
pub(crate) fn pause(duration: Duration) {
    #[expect(clippy::disallowed_methods, reason = "the other process gives no sign that could be waited for")]
    std::thread::sleep(duration);
}
