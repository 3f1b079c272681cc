//! `hactl render`: what each peer should hold, one file for each kind of object.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use model::desired::{self, Desired};
use model::observed::Live;
use model::rules;
use similar::TextDiff;

use crate::args::{Arguments, RenderArgs};
use crate::report::{Exit, Failure};
use crate::{load, node};

const SYSCTLS: &str = "sysctl.conf";
const TABLES: &str = "hactl.nft";
const VIPS: &str = "vips.txt";

/// Prints, writes or compares.
///
/// # Errors
/// The file has mistakes, a file cannot be written, or with `--check` one differs.
pub fn render(arguments: &Arguments, args: &RenderArgs) -> Result<Exit, Failure> {
    node::not_with_all(arguments, args.all)?;
    let loaded = load::load(arguments)?;
    let machines = match args.all {
        false => vec![node::desired(arguments, &loaded.config)?],
        true => loaded.config.peers.iter().filter_map(|p| desired::desire(&loaded.config, &p.name)).collect(),
    };
    let mut files = BTreeMap::new();
    for desired in &machines {
        for (name, text) in objects(desired) {
            files.insert(PathBuf::from(&desired.peer).join(name), text);
        }
    }
    match &args.out {
        None if arguments.json => anstream::println!("{}", serde_json::json!({ "version": 1, "files": files })),
        None => files.iter().for_each(|(name, text)| anstream::print!("# {}\n{text}\n", name.display())),
        Some(dir) if args.check => return check(dir, &files, (arguments, args.all)),
        Some(dir) => write(dir, &files, args.all)?,
    }
    Ok(Exit::Done)
}

/// The texts of one machine by file name.
pub fn objects(desired: &Desired) -> BTreeMap<&'static str, String> {
    let mut objects = BTreeMap::new();
    let tables: String = rules::render(desired, &Live::default()).into_values().collect();
    if !tables.is_empty() {
        objects.insert(TABLES, tables);
    }
    let mut sysctls = String::new();
    for (key, sysctl) in &desired.sysctls {
        let reasons: Vec<String> = sysctl.reasons.iter().map(ToString::to_string).collect();
        // Writing to a String does not fail.
        _ = writeln!(sysctls, "# {}\n{key} = {}", reasons.join("; "), sysctl.value);
    }
    if !sysctls.is_empty() {
        objects.insert(SYSCTLS, sysctls);
    }
    let mut vips = String::new();
    for vip in &desired.vips {
        let facts = desired.facts(vip);
        _ = writeln!(vips, "{}vip \"{}\"", if vips.is_empty() { "" } else { "\n" }, vip.name);
        for address in &facts.addresses {
            _ = writeln!(vips, "    {:<12} {address}", "address");
        }
        _ = writeln!(vips, "    {:<12} {}", "interface", facts.interface);
        for (name, value) in &facts.settings {
            _ = writeln!(vips, "    {name:<12} {value}");
        }
    }
    if !vips.is_empty() {
        objects.insert(VIPS, vips);
    }
    objects
}

/// Files of ours in the directory that no longer should be there; with `all`, those of peers that are no more, too.
fn stale(dir: &Path, files: &BTreeMap<PathBuf, String>, all: bool) -> Vec<PathBuf> {
    let mut peers: Vec<PathBuf> = files.keys().filter_map(|f| f.parent()).map(Path::to_owned).collect();
    if all {
        let folders = std::fs::read_dir(dir).into_iter().flatten().flatten().filter(|e| e.path().is_dir());
        peers.extend(folders.map(|folder| PathBuf::from(folder.file_name())));
    }
    let mut stale: Vec<PathBuf> = peers.iter().flat_map(|p| [TABLES, SYSCTLS, VIPS].map(|name| p.join(name))).collect();
    stale.sort();
    stale.dedup();
    stale.retain(|name| !files.contains_key(name) && dir.join(name).exists());
    stale
}

fn write(dir: &Path, files: &BTreeMap<PathBuf, String>, all: bool) -> Result<(), Failure> {
    let failed = |path: &Path, e: std::io::Error| Failure {
        exit: Exit::Failed,
        what: format!("{} cannot be written: {e}", path.display()),
        help: vec![],
    };
    for (name, text) in files {
        let path = dir.join(name);
        let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        folder.and_then(|()| std::fs::write(&path, text)).map_err(|e| failed(&path, e))?;
    }
    for name in stale(dir, files, all) {
        std::fs::remove_file(dir.join(&name)).map_err(|e| failed(&name, e))?;
        // A folder in which something else lies stays.
        let _ = name.parent().map(|peer| std::fs::remove_dir(dir.join(peer)));
    }
    anstream::println!("{} files in {}", files.len(), dir.display());
    Ok(())
}

fn check(dir: &Path, files: &BTreeMap<PathBuf, String>, (arguments, all): (&Arguments, bool)) -> Result<Exit, Failure> {
    let mut wrong = 0;
    for (name, text) in files {
        let path = dir.join(name);
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        if found != *text {
            wrong += 1;
            let diff = TextDiff::from_lines(found.as_str(), text);
            let (before, after) = (path.display().to_string(), "as the file says".to_owned());
            anstream::print!("{}", diff.unified_diff().context_radius(2).header(&before, &after));
        }
    }
    for name in stale(dir, files, all) {
        wrong += 1;
        anstream::println!("{} should not be there", dir.join(name).display());
    }
    if wrong == 0 {
        return Ok(Exit::Done);
    }
    let file = arguments.file.as_ref().map(|file| format!(" -f {}", file.display())).unwrap_or_default();
    let node = arguments.node.as_ref().filter(|_| !all).map(|node| format!(" --node {node}")).unwrap_or_default();
    let all = if all { " --all" } else { "" };
    Err(Failure {
        exit: Exit::Failed,
        what: format!("{wrong} of the files in {} are not what the file says", dir.display()),
        help: vec![format!("write them again: hactl{file}{node} render{all} --out {}", dir.display())],
    })
}
