//! How much memory this process may use: what the container's limit or the machine leaves.

use std::path::Path;

/// What is assumed when the system tells nothing.
const UNKNOWN_BYTES: u64 = 2 << 30;

/// What a share of the limit leaves at least for everything that `maxmemory` does not cover: the program itself, stacks, the ring that
/// CACHE.ASK counts in, page tables, buffers of the kernel for sockets and files that are counted for the container.
const BESIDE_BYTES: u64 = 64 << 20;

/// A share of what may be used, in percent. In a small container it is less, so that the program still fits beside it; but never less than
/// half of that.
#[must_use]
pub fn memory_share(percent: u32) -> u64 {
    share_of(memory_limit(), percent)
}

fn share_of(limit_bytes: u64, percent: u32) -> u64 {
    let beside = BESIDE_BYTES.min(limit_bytes / 2);
    (limit_bytes / 100 * u64::from(percent)).min(limit_bytes - beside)
}

/// Bytes of the machine's memory or of the cgroup's limit, whichever is lower.
#[must_use]
pub fn memory_limit() -> u64 {
    memory_limit_below(Path::new("/"))
}

/// The same, with `/proc` and `/sys` below another root.
fn memory_limit_below(root: &Path) -> u64 {
    let machine = machine_bytes(root);
    let limits = [machine, unified_limit(root), legacy_limit(root)];
    limits.into_iter().flatten().min().unwrap_or(UNKNOWN_BYTES)
}

fn machine_bytes(root: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// Control groups, version 2: every group up to the root may set a limit.
fn unified_limit(root: &Path) -> Option<u64> {
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let own = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    lowest_of_ancestors(&root.join("sys/fs/cgroup"), own, "memory.max")
}

/// Version 1, where memory has a hierarchy of its own.
fn legacy_limit(root: &Path) -> Option<u64> {
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let own = groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        controllers.split(',').any(|controller| controller == "memory").then_some(path)
    });
    lowest_of_ancestors(&root.join("sys/fs/cgroup/memory"), own.unwrap_or("/"), "memory.limit_in_bytes")
}

/// Inside a container the path of the group may be the host's, which is not there; the mount's own root is always looked at.
fn lowest_of_ancestors(mount: &Path, group: &str, file: &str) -> Option<u64> {
    let group = Path::new(group.trim_start_matches('/'));
    group.ancestors().filter_map(|group| read_limit(&mount.join(group).join(file))).min()
}

/// `max`, and version 1's number near 2^63 for "none", are no limits.
fn read_limit(path: &Path) -> Option<u64> {
    let bytes: u64 = std::fs::read_to_string(path).ok()?.trim().parse().ok()?;
    (bytes < 1 << 60).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("temporary directory");
        for (path, content) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("file in a directory")).expect("directory");
            std::fs::write(path, content).expect("file");
        }
        root
    }

    const EIGHT_GIB: &str = "MemFree: 1 kB\nMemTotal:        8388608 kB\n";

    #[test]
    fn without_a_container_the_machine_is_the_limit() {
        let root = machine(&[("proc/meminfo", EIGHT_GIB), ("proc/self/cgroup", "0::/\n")]);
        assert_eq!(memory_limit_below(root.path()), 8 << 30);
        let root = machine(&[]);
        assert_eq!(memory_limit_below(root.path()), UNKNOWN_BYTES);
    }

    #[test]
    fn a_share_leaves_room_for_the_program() {
        const MIB: u64 = 1 << 20;
        // 25 % of a gigabyte is more than the program needs; of 128 MiB it is not.
        for (limit, percent, share) in [
            (1000 * MIB, 75, 750 * MIB),
            (128 * MIB, 75, 64 * MIB),
            (64 * MIB, 75, 32 * MIB),
            (1000 * MIB, 100, 936 * MIB),
        ] {
            assert_eq!(share_of(limit, percent), share, "{percent} % of {limit}");
        }
    }

    #[test]
    fn the_lowest_limit_of_the_group_and_those_above_it_counts() {
        let root = machine(&[
            ("proc/meminfo", EIGHT_GIB),
            ("proc/self/cgroup", "0::/pods/one\n"),
            ("sys/fs/cgroup/pods/memory.max", "536870912\n"),
            ("sys/fs/cgroup/pods/one/memory.max", "max\n"),
        ]);
        assert_eq!(memory_limit_below(root.path()), 512 << 20);
    }

    #[test]
    fn in_a_container_the_mounted_root_is_the_own_group() {
        let root = machine(&[
            ("proc/meminfo", EIGHT_GIB),
            ("proc/self/cgroup", "0::/system.slice/docker-1234.scope\n"),
            ("sys/fs/cgroup/memory.max", "1073741824\n"),
        ]);
        assert_eq!(memory_limit_below(root.path()), 1 << 30);
    }

    #[test]
    fn version_one_and_a_limit_beyond_the_machine() {
        let files = |limit| {
            [
                ("proc/meminfo", EIGHT_GIB),
                ("proc/self/cgroup", "3:cpu,memory:/docker/abc\n1:name=systemd:/\n"),
                ("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", limit),
            ]
        };
        assert_eq!(memory_limit_below(machine(&files("2147483648\n")).path()), 2 << 30);
        assert_eq!(memory_limit_below(machine(&files("9223372036854771712\n")).path()), 8 << 30);
        assert_eq!(memory_limit_below(machine(&files("99999999999\n")).path()), 8 << 30);
    }
}
