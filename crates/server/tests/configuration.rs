//! Where settings come from and which wins; what is refused; that the pages made from the table are current.

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use sutra_cache::config::kind::Kind;
use sutra_cache::config::{self, Access, Loaded, SETTINGS, find, reference_markdown, sample_toml};
use sutra_cache::settings::Settings;

/// Loads from a directory with this file (none, if it is empty), this environment and these arguments.
fn load(file: &str, environment: &[(&str, &str)], arguments: &[&str]) -> Result<Loaded, String> {
    let directory = tempfile::tempdir().expect("temporary directory");
    if !file.is_empty() {
        std::fs::write(directory.path().join("sutra-cache.toml"), file).expect("file");
    }
    let environment: Vec<(String, String)> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    config::load(&arguments, &environment, directory.path()).map_err(|error| error.to_string())
}

fn value(settings: &Settings, name: &str) -> String {
    find(name).expect("a setting").value(settings)
}

#[test]
fn without_any_source_the_defaults_hold() {
    let settings = load("", &[], &[]).expect("defaults").settings;
    for setting in SETTINGS {
        let canonical = setting.kind.canonical(setting.default).expect("a default is accepted");
        let shown = setting.value(&settings);
        // A share of the memory is shown in bytes.
        assert!(shown == canonical || setting.name == "maxmemory", "{}: {shown} instead of {canonical}", setting.name);
    }
    let bytes = settings.memory_bytes_max.load(Relaxed);
    let limit = config::memory_limit();
    assert_eq!(bytes, (limit / 100 * 75).min(limit - (64 << 20).min(limit / 2)));
    assert_eq!(settings.clients_bytes_max.load(Relaxed), (bytes / 100 * 25).max(64 << 20));
    assert!(settings.file.is_none());
}

#[test]
fn flags_win_over_the_environment_which_wins_over_the_file() {
    let file = "port = 1001\ntimeout = 11\nmaxclients = 101\nstorage_path = \"/from/file\"\n";
    let environment = [("STORAGE_PORT", "1002"), ("SUTRA_TIMEOUT", "12")];
    let settings = load(file, &environment, &["--port", "1003"]).expect("accepted").settings;
    assert_eq!(value(&settings, "port"), "1003");
    assert_eq!(value(&settings, "timeout"), "12");
    assert_eq!(value(&settings, "maxclients"), "101");
    assert_eq!(value(&settings, "dir"), "/from/file");
    assert_eq!(settings.overridden.iter().copied().collect::<Vec<_>>(), ["port", "timeout"]);
}

#[test]
fn every_variable_of_the_sutra_deployment_is_honoured() {
    let environment = [
        ("SUTRA_ROLE", "cache_shard"),
        ("CACHE_MODE", "true"),
        ("STORAGE_PATH", "/data"),
        ("STORAGE_PORT", "50052"),
        ("STORAGE_HOST", "0.0.0.0"),
        ("VECTOR_DIMENSION", "768"),
        ("MAX_CONCEPTS", "100000"),
        ("MAX_MEMORY", "2gb"),
        ("EVICTION_POLICY", "lru"),
        ("DEFAULT_TTL_SECONDS", "86400"),
        ("MMAP_ENABLED", "false"),
        ("WAL_SYNC_INTERVAL_MS", "5000"),
        ("REDIS_AUTH", "secret"),
        ("PROTECTED_MODE", "false"),
        ("RUST_LOG", "warn,sutra_cache=debug"),
        ("LOG_FORMAT", "json"),
        ("IO_THREADS", "3"),
    ];
    let settings = load("", &environment, &[]).expect("accepted").settings;
    assert_eq!(settings.directory, Path::new("/data"));
    assert_eq!(settings.port, 50052);
    assert_eq!(value(&settings, "bind"), "0.0.0.0");
    assert_eq!(settings.vector_dimension, 768);
    assert_eq!(settings.entries_max.load(Relaxed), 100_000);
    assert_eq!(settings.memory_bytes_max.load(Relaxed), 2 << 30);
    assert_eq!(value(&settings, "maxmemory-policy"), "allkeys-lru");
    assert_eq!(settings.default_ttl_s.load(Relaxed), 86_400);
    assert!(!settings.mapped && settings.log_json);
    assert_eq!(settings.sync_interval_ms.load(Relaxed), 5000);
    assert!(settings.is_password(b"secret") && !settings.is_password(b"other"));
    assert!(!settings.protected_mode.load(Relaxed));
    assert_eq!(value(&settings, "rust-log"), "warn,sutra_cache=debug");
    assert_eq!(value(&settings, "loglevel"), "warning");
    assert_eq!(settings.io_threads, 3);
}

#[test]
fn unknown_variables_are_named_only_if_they_begin_like_ours() {
    let environment = [("SUTRA_STORAGE_MODE", "x"), ("HOME", "/root"), ("SUTRA_PASSWORD", "p"), ("SUTRA_EMPTY", "")];
    assert_eq!(load("", &environment, &[]).expect("accepted").unknown_variables, ["SUTRA_STORAGE_MODE"]);
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let settings = load("timeout = 7", &[("STORAGE_PORT", ""), ("SUTRA_TIMEOUT", "")], &[]).expect("accepted").settings;
    assert_eq!((value(&settings, "port"), value(&settings, "timeout")), ("50051".to_owned(), "7".to_owned()));
}

#[test]
fn the_password_may_be_in_a_file() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("secret");
    std::fs::write(&path, "p w\n").expect("file");
    let path = path.to_str().expect("text");
    let settings = load("", &[("SUTRA_PASSWORD_FILE", path)], &[]).expect("accepted").settings;
    assert!(settings.is_password(b"p w"));
    let refused = load("", &[("SUTRA_PASSWORD_FILE", "/nowhere/secret")], &[]).expect_err("not there");
    assert!(refused.contains("SUTRA_PASSWORD_FILE") && refused.contains("/nowhere/secret"), "{refused}");
    std::fs::write(path, "\n").expect("file");
    assert!(load("", &[("SUTRA_PASSWORD_FILE", path)], &[]).expect_err("empty").contains("empty"));
}

#[test]
fn the_log_may_be_switched_off_and_its_sync_named_as_redis_does() {
    let log = |environment: &[(&str, &str)], arguments: &[&str]| {
        let settings = load("", environment, arguments).expect("accepted").settings;
        (value(&settings, "wal-sync-interval-ms"), value(&settings, "appendfsync"), value(&settings, "appendonly"))
    };
    let shown = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
    assert_eq!(log(&[("WAL_SYNC_INTERVAL_MS", "off")], &[]), shown("off", "no", "no"));
    assert_eq!(log(&[("WAL_SYNC_INTERVAL_MS", "0")], &[]), shown("0", "always", "yes"));
    assert_eq!(log(&[], &["--appendfsync", "no"]), shown("never", "no", "yes"));
    assert_eq!(log(&[("WAL_SYNC_INTERVAL_MS", "5000")], &["--appendfsync", "always"]), shown("0", "always", "yes"));
    assert_eq!(log(&[], &["--appendonly=no"]), shown("off", "everysec", "no"));
}

#[test]
fn a_wrong_setting_is_named_with_its_value_and_what_is_accepted() {
    let environment = |name, value| load("", &[(name, value)], &[]).expect_err("refused");
    for (message, parts) in [
        (environment("STORAGE_PORT", "70000"), vec!["STORAGE_PORT", "70000", "from 0 to 65535"]),
        (environment("STORAGE_HOST", "nowhere"), vec!["STORAGE_HOST", "nowhere", "IP addresses"]),
        (environment("MAX_MEMORY", "lots"), vec!["MAX_MEMORY", "lots", "512mb"]),
        (environment("MAX_MEMORY", "1kb"), vec!["MAX_MEMORY", "1kb", "8388608"]),
        (environment("EVICTION_POLICY", "mru"), vec!["EVICTION_POLICY", "mru", "allkeys-lru", "cost"]),
        (environment("MMAP_ENABLED", "perhaps"), vec!["MMAP_ENABLED", "perhaps", "true"]),
        (environment("WAL_SYNC_INTERVAL_MS", "-5"), vec!["WAL_SYNC_INTERVAL_MS", "-5", "off"]),
        (environment("SUTRA_ROLE", "storage"), vec!["SUTRA_ROLE", "storage", "cache_shard"]),
        (environment("CACHE_MODE", "false"), vec!["CACHE_MODE", "false", "yes"]),
        (environment("VECTOR_DIMENSION", "x"), vec!["VECTOR_DIMENSION", "\"x\"", "whole number"]),
        (environment("RUST_LOG", "a=b=c"), vec!["RUST_LOG", "a=b=c", "sutra_cache=debug"]),
        (environment("LOG_FORMAT", "xml"), vec!["LOG_FORMAT", "xml", "text, json"]),
        (environment("SUTRA_CONFIG", "/nowhere/x.toml"), vec!["/nowhere/x.toml", "No such file"]),
        (environment("STORAGE_HOST", "0.0.0.0"), vec!["STORAGE_HOST", "0.0.0.0", "REDIS_AUTH", "PROTECTED_MODE"]),
        (load("prot = 1", &[], &[]).expect_err("unknown"), vec!["prot", "sutra-cache.toml"]),
        (load("port = 1.5", &[], &[]).expect_err("kind"), vec!["port", "1.5", "65535"]),
        (load("port = [", &[], &[]).expect_err("TOML"), vec!["sutra-cache.toml", "line 1"]),
        (load("[server]\nport = 1", &[], &[]).expect_err("section"), vec!["server", "sutra-cache.toml"]),
        (load("", &[], &["--prot", "1"]).expect_err("unknown"), vec!["--prot", "command line"]),
        (load("", &[], &["--port"]).expect_err("no value"), vec!["--port", "needs a value"]),
        (load("", &[], &["port"]).expect_err("no flag"), vec!["port", "--name value"]),
        (load("", &[], &["--databases", "17"]).expect_err("fixed"), vec!["--databases", "17", "16"]),
    ] {
        for part in parts {
            assert!(message.contains(part), "{part:?} is missing in: {message}");
        }
    }
}

/// Values that a setting of this kind cannot mean; none for what takes any text.
fn wrong_values(kind: Kind) -> Vec<String> {
    match kind {
        Kind::Integer { min, max } => {
            let outside =
                [min.checked_sub(1), max.checked_add(1)].into_iter().flatten().map(|number| number.to_string());
            outside.chain(["many".to_owned(), "1.5".to_owned()]).collect()
        }
        Kind::Bytes { min } => {
            let less = min.checked_sub(1).map(|bytes| bytes.to_string());
            less.into_iter().chain(["much".to_owned(), "-1".to_owned()]).collect()
        }
        Kind::YesNo | Kind::OneOf(_) | Kind::Policy => vec!["perhaps".to_owned()],
        Kind::BytesOrPercent | Kind::Memory => vec!["much".to_owned(), "101%".to_owned(), "-5mb".to_owned()],
        Kind::Addresses | Kind::OptionalAddresses => vec!["nowhere".to_owned(), "1.2.3".to_owned()],
        Kind::PortOrOff => vec!["65536".to_owned(), "http".to_owned()],
        Kind::HostNames => vec!["http://localhost".to_owned()],
        Kind::SyncInterval => vec!["-1".to_owned(), "soon".to_owned(), "3600001".to_owned()],
        Kind::OutputLimits => vec!["normal 0".to_owned(), "nobody 0 0 0".to_owned()],
        Kind::LogFilter => vec!["a=b=c".to_owned()],
        Kind::SecretFile => vec!["/nowhere/secret".to_owned()],
        Kind::Text | Kind::Secret => Vec::new(),
    }
}

#[test]
fn every_setting_refuses_what_it_cannot_mean_by_each_of_its_names_and_says_what_it_takes() {
    let mut tried = 0;
    for setting in SETTINGS {
        let fixed = matches!(setting.access, Access::Fixed { .. });
        for wrong in wrong_values(setting.kind) {
            let flag = format!("--{}", setting.name);
            let file = format!("{} = {:?}", setting.name, wrong);
            let mut messages =
                vec![(flag.clone(), load("", &[], &[&flag, &wrong])), (setting.name.to_owned(), load(&file, &[], &[]))];
            for variable in setting.variable_names() {
                messages.push((variable.to_string(), load("", &[(&variable, &wrong)], &[])));
            }
            for (name, result) in messages {
                let message = result.map(|_| ()).expect_err(&format!("{name} = {wrong} was accepted"));
                let accepted = if fixed { format!("only {:?}", setting.default) } else { setting.kind.accepted() };
                for part in [name, wrong.clone(), accepted] {
                    assert!(message.contains(&part), "{part:?} is missing in: {message}");
                }
                tried += 1;
            }
        }
        if fixed && setting.kind == Kind::Text {
            let message =
                load("", &[], &[&format!("--{}", setting.name), "other"]).map(|_| ()).expect_err(setting.name);
            assert!(message.contains("other") && message.contains(setting.name), "{message}");
        }
    }
    assert!(tried > 300, "{tried}");
}

#[test]
fn a_secret_never_appears_in_a_message() {
    let environment = [("REDIS_AUTH", "first-secret"), ("SUTRA_PASSWORD", "second-secret")];
    let message = load("", &environment, &[]).expect_err("two passwords");
    assert!(message.contains("REDIS_AUTH") && message.contains("SUTRA_PASSWORD"), "{message}");
    let malformed = load("requirepass = [1, 23456789]", &[], &[]).expect_err("kind");
    for secret in ["first-secret", "second-secret", "23456789"] {
        assert!(!message.contains(secret) && !malformed.contains(secret), "{message} {malformed}");
    }
}

#[test]
fn two_names_of_the_same_thing_in_one_place_are_refused() {
    assert!(load("appendfsync = \"always\"\nwal-sync-interval-ms = 5", &[], &[]).is_err());
    assert!(load("maxmemory = \"1gb\"\nmax_memory = \"2gb\"", &[], &[]).is_err());
    assert!(load("", &[], &["--rust-log", "info", "--loglevel", "debug"]).is_err());
    assert!(load("", &[("REDIS_AUTH", "same"), ("SUTRA_PASSWORD", "same")], &[]).is_ok());
}

#[test]
fn names_variables_and_aliases_are_unique() {
    let mut names: Vec<String> = Vec::new();
    for setting in SETTINGS {
        // A variable may be the name in capitals.
        let mut own = std::collections::BTreeSet::from([setting.name.to_owned()]);
        own.extend(setting.aliases.iter().map(|alias| (*alias).to_owned()));
        own.extend(setting.variable_names().iter().map(|variable| variable.to_lowercase().replace('_', "-")));
        names.extend(own);
        assert!(setting.doc.ends_with('.'), "{}: one sentence", setting.name);
        if let Some(rival) = setting.rival {
            assert!(find(rival).is_some_and(|found| found.name == rival), "{rival}");
        }
    }
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn the_sample_file_is_current_and_says_the_defaults() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/sutra-cache.toml");
    let sample = std::fs::read_to_string(path).expect("docs/sutra-cache.toml");
    assert_eq!(sample, sample_toml(), "run `cargo run -p xtask -- docs`");
    let (sample, default) =
        (load(&sample, &[], &[]).expect("accepted").settings, load("", &[], &[]).expect("defaults").settings);
    for setting in SETTINGS {
        assert_eq!(setting.value(&sample), setting.value(&default), "{}", setting.name);
    }
    // Settings that are commented out are no less right.
    let uncommented: String = sample_toml()
        .lines()
        .filter(|line| line.strip_prefix("# ").is_some_and(|line| line.contains(" = ") && !line.contains('.')))
        .map(|line| format!("{}\n", &line[2..]))
        .collect();
    assert!(uncommented.lines().count() >= 3, "{uncommented}");
    load(&uncommented, &[], &[]).expect("accepted");
}

#[test]
fn the_reference_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let page = std::fs::read_to_string(path).expect("docs/configuration.md");
    assert_eq!(page, reference_markdown(), "run `cargo run -p xtask -- docs`");
}
