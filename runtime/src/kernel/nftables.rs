//! Our nftables tables: whether they are there is asked over netlink, which takes microseconds and no program; text
//! goes through `nft`, because the same text is what people read in a plan.
//!
//! Only tables of our own name are ever listed or changed: an old `nft` crashes on other tools' newer sets.

use std::collections::BTreeMap;

use model::rules::without_counters;

use super::program::{self, Ended};
use super::{KernelError, netlink};

/// Our tables by the family they are in.
const OURS: [(&str, u8); 2] = [("ip hactl", libc::NFPROTO_IPV4 as u8), ("ip6 hactl", libc::NFPROTO_IPV6 as u8)];

/// Whether `nft` is there to be run.
pub(super) fn installed() -> Result<(), KernelError> {
    program::find("nft", std::env::var_os("PATH").as_deref())
        .map(drop)
        .ok_or_else(|| KernelError::NoProgram { program: "nft".into() })
}

/// The text of each of our tables that exists, counters at 0: traffic alone does not make another observation.
pub(super) fn list() -> Result<BTreeMap<String, String>, KernelError> {
    let mut tables = BTreeMap::new();
    for (table, family) in OURS {
        if !netlink::has_table(family, "hactl")? {
            continue;
        }
        let args: Vec<&str> = ["list", "table"].into_iter().chain(table.split(' ')).collect();
        match program::run("nft", &args, "")? {
            Ended::Well(text) => drop(tables.insert(table.to_owned(), without_counters(&text))),
            Ended::Badly(_) if !netlink::has_table(family, "hactl")? => {}
            Ended::Badly(why) => return Err(refused("listing", table, why)),
        }
    }
    Ok(tables)
}

/// Replaces a table by `text` in one transaction.
pub(super) fn load(table: &str, text: &str) -> Result<(), KernelError> {
    family(table)?;
    // `nft -f` of a whole table merges it with what is there; this is the swap that nobody sees half done. On the
    // text's first line, so that nft's complaints count the lines that a plan shows.
    let swap = format!("table {table} {{}}; delete table {table}; {text}\n");
    // Not checked first: the kernel takes all of it or nothing, and a run that puts a lost table back has no time.
    match program::run("nft", &["-f", "-"], &swap)? {
        Ended::Well(_) => Ok(()),
        Ended::Badly(why) => Err(refused("loading", table, why)),
    }
}

/// Deletes a table where it exists.
pub(super) fn delete(table: &str) -> Result<(), KernelError> {
    if !netlink::has_table(family(table)?, "hactl")? {
        return Ok(());
    }
    // nft 1.0.6 knows no `destroy`: made first, it can always be deleted.
    let text = format!("table {table} {{}}\ndelete table {table}\n");
    match program::run("nft", &["-f", "-"], &text)? {
        Ended::Well(_) => Ok(()),
        Ended::Badly(why) => Err(refused("deleting", table, why)),
    }
}

fn family(table: &str) -> Result<u8, KernelError> {
    let ours = OURS.iter().find(|(name, _)| *name == table).map(|(_, family)| *family);
    ours.ok_or_else(|| refused("changing", table, "it is not a table of hactl's".into()))
}

fn refused(doing: &str, table: &str, why: String) -> KernelError {
    let what = format!("{doing} nftables {table}");
    match why.contains("Operation not permitted") {
        true => KernelError::NotPermitted { what },
        false => KernelError::Refused { what, why },
    }
}
