//! Nothing of the machine it was written on: no secrets, no absolute paths of somebody's checkout, no paths out of the repository, no hosts
//! but the public ones on the list.

use super::{Fault, lines};
use crate::tree::Tree;

/// Hosts that a page or a manifest may name.
const HOSTS: &[&str] = &[
    "github.com",
    "www.apache.org",
    "redis.io",
    "docs.rs",
    "crates.io",
    "doc.rust-lang.org",
    "en.wikipedia.org",
    "www.usenix.org",
    "arxiv.org",
    "prometheus.io",
    "creativecommons.org",
    "localhost",
    "127.0.0.1",
];

/// Roots below which people and machines keep their checkouts.
const CHECKOUTS: &[&str] = &["home", "root", "Users", "work", "workspace", "builds", "shared"];

/// How secrets begin. Put together so that this file does not contain them.
const SECRETS: &[&str] = &[
    concat!("-----BEGIN ", "PRIVATE KEY"),
    concat!("-----BEGIN ", "RSA PRIVATE KEY"),
    concat!("-----BEGIN ", "OPENSSH PRIVATE KEY"),
    concat!("AK", "IA"),
    concat!("gh", "p_"),
    concat!("github_", "pat_"),
    concat!("xox", "b-"),
    concat!("sk-", "proj-"),
];
const SECRET_BYTES_MIN: usize = 20;

pub(super) fn check(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| *path != "LICENSE") {
        for (line, text) in lines(text) {
            faults.extend(secret(text).map(|begin| Fault::at(path, line, format!("looks like a secret: {begin}…"))));
            faults.extend(hosts(text).map(|host| Fault::at(path, line, format!("the host {host} is not on the list"))));
            faults
                .extend(checkout(text).map(|root| Fault::at(path, line, format!("a path of one machine: /{root}/…"))));
            let ups =
                text.split(|c: char| !"./".contains(c)).map(|part| part.matches("../").count()).max().unwrap_or(0);
            if ups > path.matches('/').count() && !text.contains("](") {
                faults.push(Fault::at(path, line, "a path that leads out of the repository"));
            }
        }
    }
    faults
}

fn secret(line: &str) -> Option<&'static str> {
    SECRETS.iter().copied().find(|begin| {
        line.match_indices(begin).any(|(at, _)| {
            let length =
                line[at..].bytes().take_while(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)).count();
            begin.starts_with('-') || length >= SECRET_BYTES_MIN
        })
    })
}

/// Hosts of URLs that are not on the list.
fn hosts(line: &str) -> impl Iterator<Item = &str> {
    let hosts = line.split("://").skip(1).filter_map(|rest| {
        let authority = rest.split(|c: char| !c.is_ascii_alphanumeric() && !".-:@_".contains(c)).next()?;
        let host = authority.rsplit('@').next()?.split(':').next()?;
        (!host.is_empty()).then_some(host)
    });
    hosts.filter(|host| !HOSTS.contains(host) && !host.ends_with("example.com") && !host.ends_with(".example"))
}

/// The root of an absolute path that belongs to one machine.
fn checkout(line: &str) -> Option<&'static str> {
    CHECKOUTS.iter().copied().find(|root| {
        line.match_indices(root).any(|(at, _)| {
            let before = line[..at].strip_suffix('/');
            let starts = before
                .is_some_and(|before| !before.ends_with(|c: char| c.is_ascii_alphanumeric() || "./_-}*>".contains(c)));
            starts && line[at + root.len()..].starts_with('/')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> usize {
        check(&Tree::of(&[("docs/a.md", text)])).len()
    }

    #[test]
    fn secrets_are_found() {
        assert_eq!(count(&format!("key = {}{}", SECRETS[3], "0123456789ABCDEF")), 1);
        assert_eq!(count(SECRETS[1]), 1);
        assert_eq!(count("a word like risk-project"), 0);
    }

    #[test]
    fn hosts_off_the_list_are_found() {
        assert_eq!(
            count("see https://redis.io/docs and redis://localhost:6379 and https://u:p@cache.example.com/x"),
            0
        );
        assert_eq!(count(&format!("resolved https:{}", "//mirror.internal/x.tgz")), 1);
        assert_eq!(count(&format!("index = \"https:{}", "//user@packages.corp:8080/simple\"")), 1);
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        for root in CHECKOUTS {
            assert_eq!(count(&format!("see /{root}/x/y.npy")), 1, "{root}");
            assert_eq!(count(&format!("see docs/{root}/x.md, {root}/x")), 0, "{root}");
        }
    }

    #[test]
    fn paths_out_of_the_repository_are_found() {
        assert_eq!(count("open(\"../x\")"), 0);
        assert_eq!(count("open(\"../../x\")"), 1);
    }
}
