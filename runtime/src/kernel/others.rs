//! Other programs on this machine that hold addresses, so that a plan can name a conflict's owner.

use std::fs;
use std::path::Path;

/// Programs that move addresses between machines, by the name of their process.
const HOLDERS: [&str; 3] = ["keepalived", "vrrpd", "ucarp"];

/// `keepalived (pid 812)` for each of them that works in the calling thread's network namespace, sorted.
pub(super) fn holders() -> Vec<String> {
    let Ok(here) = fs::read_link("/proc/thread-self/ns/net") else { return vec![] };
    let Ok(entries) = fs::read_dir("/proc") else { return vec![] };
    let mut found: Vec<(String, u32)> = entries
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let name = fs::read_to_string(entry.path().join("comm")).ok()?.trim().to_owned();
            (HOLDERS.contains(&&*name) && is_parent(&entry.path(), &name)).then_some((name, pid))
        })
        // A process in another namespace, as in a container, holds nothing here.
        .filter(|(_, pid)| fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|there| there == here))
        .collect();
    found.sort();
    found.into_iter().map(|(name, pid)| format!("{name} (pid {pid})")).collect()
}

/// keepalived runs as a parent with a child for each of its trades: only the parent is named.
fn is_parent(process: &Path, name: &str) -> bool {
    let status = fs::read_to_string(process.join("status")).unwrap_or_default();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).map(str::trim).unwrap_or("0");
    fs::read_to_string(format!("/proc/{parent}/comm")).map_or(true, |comm| comm.trim() != name)
}
