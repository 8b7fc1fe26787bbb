//! The process, its clients, its processor time.

use super::{Facts, Text};
use crate::commands::hello::REDIS_VERSION;
use crate::process::{cpu_times, system_name};
use std::sync::LazyLock;
use std::sync::atomic::Ordering;

/// A name for this run of the program, as Redis makes one: 40 hexadecimal digits.
static RUN_ID: LazyLock<String> = LazyLock::new(|| {
    let digits: String = (0..3).map(|_| format!("{:016x}", crate::random::number())).collect();
    digits[..40].to_owned()
});

pub(super) fn server(facts: &Facts<'_, '_, '_>, text: &mut Text) {
    let server = facts.cx.server;
    let now_ms = facts.cx.now_ms;
    let uptime_s = now_ms.saturating_sub(server.started_ms) / 1000;
    text.field("redis_version", REDIS_VERSION);
    text.field("redis_git_sha1", "00000000");
    text.zeros(&["redis_git_dirty"]);
    text.field("redis_build_id", "0000000000000000");
    text.field("redis_mode", "standalone");
    text.field("os", system_name());
    text.field("arch_bits", usize::BITS);
    text.field("monotonic_clock", "POSIX clock_gettime");
    text.field("multiplexing_api", "epoll");
    text.field("process_id", std::process::id());
    text.field("process_supervised", "no");
    text.field("run_id", &*RUN_ID);
    let port = match server.settings.port {
        0 => facts.cx.session.client.local_address.port(),
        port => port,
    };
    text.field("tcp_port", port);
    text.field("server_time_usec", server.clock.now_us());
    text.field("uptime_in_seconds", uptime_s);
    text.field("uptime_in_days", uptime_s / 86_400);
    text.field("hz", 10);
    text.field("configured_hz", 10);
    text.field("lru_clock", (now_ms / 1000) & 0xff_ffff);
    let executable = std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default();
    text.field("executable", executable);
    let file = server.settings.file.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    text.field("config_file", file);
    text.field("io_threads_active", u8::from(server.workers().len() > 1));
    text.field("sutra_version", env!("CARGO_PKG_VERSION"));
    text.field("sutra_threads", server.workers().len());
}

pub(super) fn clients(facts: &Facts<'_, '_, '_>, text: &mut Text) {
    let server = facts.cx.server;
    let clients = server.clients.list();
    let largest = |of: fn(&crate::clients::Client) -> usize| clients.iter().map(|client| of(client)).max().unwrap_or(0);
    text.field("connected_clients", server.clients.count());
    text.zeros(&["cluster_connections"]);
    text.field("maxclients", server.settings.maxclients.load(Ordering::Relaxed));
    text.field("client_recent_max_input_buffer", largest(|client| client.input_bytes.load(Ordering::Relaxed)));
    text.field("client_recent_max_output_buffer", largest(|client| client.output_bytes.load(Ordering::Relaxed)));
    text.zeros(&["blocked_clients"]);
    text.field("tracking_clients", server.shard.tracking_stats().subscribers);
    text.zeros(&["pubsub_clients"]);
    text.field("watching_clients", clients.iter().filter(|client| client.watched.load(Ordering::Relaxed) > 0).count());
    text.zeros(&[
        "clients_in_timeout_table",
        "total_watched_keys",
        "total_blocking_keys",
        "total_blocking_keys_on_nokey",
    ]);
}

pub(super) fn replication(_facts: &Facts<'_, '_, '_>, text: &mut Text) {
    text.field("role", "master");
    text.zeros(&["connected_slaves"]);
    text.field("master_failover_state", "no-failover");
    text.field("master_replid", &*RUN_ID);
    text.field("master_replid2", "0".repeat(40));
    text.zeros(&["master_repl_offset"]);
    text.field("second_repl_offset", -1);
    text.zeros(&["repl_backlog_active", "repl_backlog_size", "repl_backlog_first_byte_offset", "repl_backlog_histlen"]);
}

pub(super) fn cpu(_facts: &Facts<'_, '_, '_>, text: &mut Text) {
    let times = cpu_times();
    let (system, user) = (times.system.as_secs_f64(), times.user.as_secs_f64());
    text.field("used_cpu_sys", format_args!("{system:.6}"));
    text.field("used_cpu_user", format_args!("{user:.6}"));
    text.field("used_cpu_sys_children", "0.000000");
    text.field("used_cpu_user_children", "0.000000");
}
