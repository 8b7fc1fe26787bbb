//! What the operating system knows of this process.

use std::time::Duration;

/// Processor time used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// In the program.
    pub user: Duration,
    /// In the kernel, on its behalf.
    pub system: Duration,
}

/// Bytes of memory that are resident, mapped files included; 0 if the system does not tell.
#[must_use]
pub fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = text.split(' ').nth(1).and_then(|field| field.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

/// Bytes of anonymous and of file-backed resident memory.
#[must_use]
pub fn resident_parts() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or(0_u64) * 1024
    };
    (field("RssAnon:"), field("RssFile:") + field("RssShmem:"))
}

/// Open file descriptors; 0 if the system does not tell.
#[must_use]
pub fn open_descriptors() -> u64 {
    // The listing itself holds one.
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1) as u64)
}

/// Processor time used so far by all threads.
#[must_use]
pub fn cpu_times() -> CpuTimes {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may hold anything; fields are counted behind it.
    let fields: Vec<&str> = text.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ').collect();
    let ticks_per_second = rustix::param::clock_ticks_per_second().max(1);
    let field = |index: usize| {
        let ticks: u64 = fields.get(index).and_then(|field| field.parse().ok()).unwrap_or(0);
        Duration::from_secs_f64(ticks as f64 / ticks_per_second as f64)
    };
    CpuTimes { user: field(11), system: field(12) }
}

/// Bytes of the machine's memory.
#[must_use]
pub fn machine_bytes() -> u64 {
    let system = rustix::system::sysinfo();
    (system.totalram as u64).saturating_mul(u64::from(system.mem_unit))
}

/// Name, release and architecture of the operating system, as INFO shows them.
#[must_use]
pub fn system_name() -> String {
    let name = rustix::system::uname();
    let part = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    format!("{} {} {}", part(name.sysname()), part(name.release()), part(name.machine()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_knows_this_process() {
        let resident = resident_bytes();
        assert!(resident > 100_000, "{resident}");
        let (anonymous, files) = resident_parts();
        assert!(anonymous > 0 && files > 0 && anonymous + files < resident * 4);
        assert!(machine_bytes() > resident);
        // Other tests open and close files meanwhile; standard input, output and error are there in any case.
        assert!(open_descriptors() >= 3);
        assert!(system_name().starts_with("Linux "));
    }

    #[test]
    fn processor_time_passes_with_work() {
        let before = cpu_times();
        let mut sum = 0_u64;
        let began = std::time::Instant::now();
        while cpu_times() == before && began.elapsed() < Duration::from_secs(60) {
            sum = (0..1_000_000_u64).fold(sum, |sum, number| sum.wrapping_mul(31).wrapping_add(number));
        }
        let after = cpu_times();
        assert!(after.user + after.system > before.user + before.system, "{sum}");
    }
}
