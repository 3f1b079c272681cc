//! Finding the cluster's file, reading it and what it includes.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use model::config::{self, Config, Diagnostic, Source};

/// Where the file is looked for when nobody names it.
pub const DEFAULTS: [&str; 2] = ["ha.kdl", "/etc/hactl/ha.kdl"];

/// The most files that one cluster is spread over: far more than peers, far fewer than a pattern gone wrong would find.
pub const FILES_LIMIT: usize = 256;

/// A cluster read from its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The file itself; `-` for standard input.
    pub path: PathBuf,
    /// The texts, the file itself first.
    pub sources: Vec<Source>,
    /// What they say.
    pub config: Config,
    /// What stands there and does not do what its author will expect.
    pub warnings: Vec<Diagnostic>,
}

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Nobody named a file and none is where it is looked for.
    #[error("there is no ha.kdl here and no /etc/hactl/ha.kdl")]
    NoFile,
    /// A file cannot be read.
    #[error("{path} cannot be read: {why}")]
    Unreadable {
        /// Which.
        path: String,
        /// The system's words.
        #[source]
        why: std::io::Error,
    },
    /// A file is not text.
    #[error("{path} is not UTF-8: byte {offset} begins no character")]
    NotText {
        /// Which.
        path: String,
        /// Where the first wrong byte is.
        offset: usize,
    },
    /// A file is larger than any cluster's.
    #[error("{path} has more than {limit} bytes, the most that is read", limit = config::SIZE_LIMIT)]
    TooLarge {
        /// Which.
        path: String,
    },
    /// More files are included than any cluster has.
    #[error("more than {FILES_LIMIT} files are included")]
    TooMany,
    /// A pattern names a file that does not exist.
    #[error("{from} includes \"{pattern}\", and there is no such file")]
    NoSuchInclude {
        /// The including file, with the line.
        from: String,
        /// As it stands there.
        pattern: String,
    },
    /// There is no room to decode in.
    #[error("the file cannot be decoded: {0}")]
    NoRoom(std::io::Error),
    /// The texts have mistakes.
    #[error("the file has mistakes")]
    Invalid {
        /// The texts that the diagnostics' spans point into.
        sources: Vec<Source>,
        /// Every mistake.
        diagnostics: Vec<Diagnostic>,
    },
}

/// Stack for decoding: kdl goes one call deeper at each place that it cannot read, less than a kilobyte for every two
/// bytes of [`config::SIZE_LIMIT`]. Only what is touched costs memory: a file that is KDL touches some kilobytes.
const STACK: usize = 512 << 20;

/// Finds, reads and decodes a cluster's file: the one named (`-` is standard input), else the first of [`DEFAULTS`].
///
/// # Errors
/// Says which file is missing or unreadable, or carries every mistake of the texts.
pub fn load(file: Option<&Path>) -> Result<Loaded, LoadError> {
    std::thread::scope(|scope| {
        let decoding = std::thread::Builder::new().name("decode".into()).stack_size(STACK);
        let decoding = decoding.spawn_scoped(scope, || load_here(file)).map_err(LoadError::NoRoom)?;
        decoding.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn load_here(file: Option<&Path>) -> Result<Loaded, LoadError> {
    let path = match file {
        Some(path) => path.to_owned(),
        None => DEFAULTS.iter().map(PathBuf::from).find(|p| p.exists()).ok_or(LoadError::NoFile)?,
    };
    let sources = read_all(&path)?;
    let parsed = config::parse(&sources);
    match parsed.config {
        Some(config) => Ok(Loaded { path, sources, config, warnings: parsed.diagnostics }),
        None => Err(LoadError::Invalid { sources, diagnostics: parsed.diagnostics }),
    }
}

/// The file and everything that it includes, each once.
fn read_all(path: &Path) -> Result<Vec<Source>, LoadError> {
    let mut sources = vec![read(path)?];
    let mut seen = BTreeSet::from([path.canonicalize().unwrap_or_else(|_| path.to_owned())]);
    let mut next = 0;
    while let Some(source) = sources.get(next).cloned() {
        next += 1;
        // Standard input includes relative to where the command was started.
        let folder = Path::new(&source.name).parent().filter(|_| source.name != "-").unwrap_or(Path::new(""));
        for pattern in config::includes(&source) {
            for found in expand(&folder.join(&pattern), &place(&source, &pattern), &pattern)? {
                if !seen.insert(found.canonicalize().unwrap_or_else(|_| found.clone())) {
                    continue;
                }
                if sources.len() == FILES_LIMIT {
                    return Err(LoadError::TooMany);
                }
                sources.push(read(&found)?);
            }
        }
    }
    Ok(sources)
}

/// Where an include stands: `ha.kdl:3`.
fn place(source: &Source, pattern: &str) -> String {
    let written = format!("\"{pattern}\"");
    let line = source.text.lines().position(|line| line.contains("include") && line.contains(&written));
    line.map_or_else(|| source.name.clone(), |line| format!("{}:{}", source.name, line + 1))
}

/// Reads one text; `-` is standard input.
///
/// # Errors
/// Says which file is unreadable, too large or no text.
pub fn read(path: &Path) -> Result<Source, LoadError> {
    let name = path.display().to_string();
    let unreadable = |why| LoadError::Unreadable { path: name.clone(), why };
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that is too large from one that just fits.
    let most = config::SIZE_LIMIT as u64 + 1;
    match name.as_str() {
        "-" => std::io::stdin().lock().take(most).read_to_end(&mut bytes),
        _ => std::fs::File::open(path).map_err(unreadable)?.take(most).read_to_end(&mut bytes),
    }
    .map_err(unreadable)?;
    if bytes.len() > config::SIZE_LIMIT {
        return Err(LoadError::TooLarge { path: name });
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source { name, text }),
        Err(e) => Err(LoadError::NotText { path: name, offset: e.utf8_error().valid_up_to() }),
    }
}

/// The files that a pattern matches, sorted. A pattern with `*` or `?` may match none; a plain name must exist.
fn expand(pattern: &Path, from: &str, written: &str) -> Result<Vec<PathBuf>, LoadError> {
    if !written.contains(['*', '?']) {
        return match pattern.exists() {
            true => Ok(vec![pattern.to_owned()]),
            false => Err(LoadError::NoSuchInclude { from: from.to_owned(), pattern: written.to_owned() }),
        };
    }
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let part = part.as_os_str().to_string_lossy();
        let mut next = Vec::new();
        for base in &found {
            if part.contains(['*', '?']) {
                next.extend(matching(base, &part)?);
            } else {
                next.push(base.join(part.as_ref()));
            }
        }
        found = next;
        if found.len() > FILES_LIMIT {
            return Err(LoadError::TooMany);
        }
    }
    found.retain(|p| p.is_file());
    found.sort();
    Ok(found)
}

/// Entries of a folder whose names match one part of a pattern; hidden ones only where the pattern begins with a dot.
fn matching(folder: &Path, part: &str) -> Result<Vec<PathBuf>, LoadError> {
    let real = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = match std::fs::read_dir(real) {
        Ok(entries) => entries,
        // A pattern below a folder that is not there matches nothing.
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(why) => return Err(LoadError::Unreadable { path: real.display().to_string(), why }),
    };
    let fits = |name: &str| (part.starts_with('.') || !name.starts_with('.')) && glob(part.as_bytes(), name.as_bytes());
    Ok(entries
        .filter_map(Result::ok)
        .filter(|e| e.file_name().to_str().is_some_and(fits))
        .map(|e| folder.join(e.file_name()))
        .collect())
}

/// Whether a name matches a pattern of `*` and `?`; never slower than the product of their lengths.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    // `reach[i]`: the name so far matches the first i bytes of the pattern.
    let mut reach = vec![false; pattern.len() + 1];
    let star = |reach: &mut [bool]| {
        for (i, byte) in pattern.iter().enumerate() {
            if *byte == b'*'
                && reach.get(i) == Some(&true)
                && let Some(next) = reach.get_mut(i + 1)
            {
                *next = true;
            }
        }
    };
    if let Some(first) = reach.first_mut() {
        *first = true;
    }
    star(&mut reach);
    for c in name {
        let mut next = vec![false; pattern.len() + 1];
        for (i, byte) in pattern.iter().enumerate().filter(|(i, _)| reach.get(*i) == Some(&true)) {
            let target = if *byte == b'*' { i } else { i + 1 };
            if (matches!(byte, b'*' | b'?') || byte == c)
                && let Some(slot) = next.get_mut(target)
            {
                *slot = true;
            }
        }
        star(&mut next);
        reach = next;
    }
    reach.last() == Some(&true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_matches_any_part_of_a_name() {
        for (pattern, name, expected) in [
            ("*.kdl", "a.kdl", true),
            ("*.kdl", "a.kdl~", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*", "", true),
            ("", "x", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} on {name}");
        }
    }

    #[test]
    fn a_text_that_kdl_goes_deep_in_is_refused_like_any_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ha.kdl");
        std::fs::write(&path, format!("cluster \"c\"\npeer {}", "\u{200e} ".repeat(15_000))).unwrap();
        assert!(matches!(load(Some(&path)), Err(LoadError::Invalid { .. })));
    }

    #[test]
    fn includes_are_read_once_each_in_order_and_relative_to_the_including_file() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("nodes")).unwrap();
        std::fs::write(at("ha.kdl"), "cluster \"c\"\ninclude \"nodes/*.kdl\"\ninclude \"nodes/b.kdl\"").unwrap();
        std::fs::write(at("nodes/b.kdl"), "peer \"b\" address=\"192.0.2.2\"").unwrap();
        std::fs::write(at("nodes/a.kdl"), "peer \"a\" address=\"192.0.2.1\"\ninclude \"../ha.kdl\"").unwrap();
        std::fs::write(at("nodes/.hidden.kdl"), "nonsense").unwrap();
        let loaded = load(Some(&at("ha.kdl"))).unwrap();
        let peers: Vec<_> = loaded.config.peers.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(peers, ["a", "b"]);
        assert_eq!(loaded.sources.len(), 3);
    }

    #[test]
    fn a_plain_include_must_exist_and_a_pattern_may_match_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ha.kdl");
        std::fs::write(&path, "include \"more.kdl\"").unwrap();
        assert!(matches!(load(Some(&path)), Err(LoadError::NoSuchInclude { .. })));
        std::fs::write(&path, "cluster \"c\"\npeer \"a\" address=\"192.0.2.1\"\ninclude \"none/*.kdl\"").unwrap();
        assert!(load(Some(&path)).is_ok());
    }

    #[test]
    fn what_is_no_text_names_the_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ha.kdl");
        std::fs::write(&path, b"cluster \xff").unwrap();
        assert!(matches!(load(Some(&path)), Err(LoadError::NotText { offset: 8, .. })));
    }

    #[test]
    fn a_file_above_the_limit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ha.kdl");
        std::fs::write(&path, " ".repeat(config::SIZE_LIMIT + 1)).unwrap();
        assert!(matches!(load(Some(&path)), Err(LoadError::TooLarge { .. })));
    }
}
