//! /proc/sys: keys are dotted, and an interface's name in a key has its dots written as `/`.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use super::KernelError;

const ROOT: &str = "/proc/sys";

/// The value, its blanks made single spaces; `None` where the kernel has no such key.
pub(super) fn read(key: &str) -> Result<Option<String>, KernelError> {
    match fs::read_to_string(path(key)?) {
        Ok(text) => Ok(Some(normal(&text))),
        Err(e) if absent(&e) => Ok(None),
        Err(e) => Err(failed("reading", key, &e)),
    }
}

/// Writes a value, unless it is so already.
pub(super) fn write(key: &str, value: &str) -> Result<(), KernelError> {
    // Some keys do more than store (ip_forward resets every interface): a value that stands is not written again.
    if read(key)?.as_deref() == Some(normal(value).as_str()) {
        return Ok(());
    }
    fs::write(path(key)?, value).map_err(|e| match e {
        e if absent(&e) => {
            KernelError::Refused { what: format!("setting sysctl {key}"), why: "this kernel has no such key".into() }
        }
        e => failed("setting", key, &e),
    })
}

pub(super) fn path(key: &str) -> Result<PathBuf, KernelError> {
    let swapped: String = key
        .chars()
        .map(|c| match c {
            '.' => '/',
            '/' => '.',
            c => c,
        })
        .collect();
    // A key comes from a file or a record: it must not lead out of /proc/sys.
    if swapped.split('/').any(|part| matches!(part, "" | "." | "..")) || swapped.contains('\0') {
        return Err(KernelError::Refused { what: format!("sysctl {key}"), why: "this is not a sysctl's name".into() });
    }
    Ok(PathBuf::from(ROOT).join(swapped))
}

fn normal(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn failed(doing: &str, key: &str, error: &io::Error) -> KernelError {
    let what = format!("{doing} sysctl {key}");
    match error.kind() {
        ErrorKind::PermissionDenied => KernelError::NotPermitted { what },
        ErrorKind::ReadOnlyFilesystem => {
            KernelError::Refused { what, why: "/proc/sys is read-only here (a container without privileges?)".into() }
        }
        _ => KernelError::Refused { what, why: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_of_an_interfaces_name_stay_in_its_directory() {
        let path = path("net.ipv4.conf.eth0/100.forwarding").unwrap();
        assert_eq!(path, PathBuf::from("/proc/sys/net/ipv4/conf/eth0.100/forwarding"));
    }

    #[test]
    fn a_key_that_leads_out_of_proc_sys_is_refused() {
        for key in ["", "a..b", "//.//.etc.passwd", ".etc.passwd", "net.//.x", "net./.x", "a\0b"] {
            assert!(read(key).is_err(), "{key:?}");
        }
    }

    #[test]
    fn a_key_that_the_kernel_lacks_is_absent() {
        assert_eq!(read("net.ipv4.conf.nosuchlink.forwarding"), Ok(None));
        assert_eq!(read("net.ipv4.ip_forward.deeper"), Ok(None));
    }

    #[test]
    fn several_numbers_are_read_with_single_spaces() {
        let value = read("net.ipv4.tcp_rmem").unwrap().unwrap();
        assert_eq!(value.split(' ').count(), 3, "{value:?}");
    }
}
