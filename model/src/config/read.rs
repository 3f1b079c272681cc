//! From text to a document: looked at, repaired, parsed; where a part cannot be, the others still are.

use std::ops::Range;

use kdl::{KdlDocument, KdlError};

use super::file::File;
use super::mistakes::Mistakes;
use super::{Diagnostic, SIZE_LIMIT, codes, scan};

/// Reads one source. What cannot be read has been reported, and its absence noted.
pub(super) fn document(file: &mut File<'_>, out: &mut Mistakes) -> Option<KdlDocument> {
    if file.source.text.len() > SIZE_LIMIT {
        out.incomplete = true;
        out.push(
            Diagnostic::error(codes::TOO_LARGE, format!("{} has more than {SIZE_LIMIT} bytes", file.source.name))
                .at(file.here(0..0), "nothing of it was read")
                .help("split it with `include`"),
        );
        return None;
    }
    let mut scanned = scan::scan(file.index, &file.source.text);
    file.secrets = std::mem::take(&mut scanned.secrets);
    file.repairs = std::mem::take(&mut scanned.repairs);
    let known: Vec<Range<usize>> = scanned
        .diagnostics
        .iter()
        .filter_map(|d| d.labels.first().map(|(s, _)| s.offset..s.offset + s.len.max(1)))
        .collect();
    out.list.append(&mut scanned.diagnostics);
    if scanned.hopeless {
        out.incomplete = true;
        return None;
    }
    let tops: Vec<usize> = scanned.tops.iter().map(|top| file.parsed(*top)).collect();
    Reader { file, known }.read(&tops, out)
}

/// A source that has been looked at.
struct Reader<'f, 's> {
    file: &'f File<'s>,
    /// Where the look found mistakes.
    known: Vec<Range<usize>>,
}

impl Reader<'_, '_> {
    fn read(&self, tops: &[usize], out: &mut Mistakes) -> Option<KdlDocument> {
        let text = self.file.repaired();
        let error = match KdlDocument::parse_v2(&text) {
            Ok(document) => return Some(document),
            Err(error) => error,
        };
        out.incomplete = true;
        let before = out.list.len();
        let rest = self.in_parts(text, tops, out);
        if out.list.len() == before && !out.has_errors() {
            // Each part parses and the whole does not.
            self.unreadable(0, &error, out);
        }
        rest
    }

    /// Blanks out the top-level nodes that do not parse, and parses the rest.
    fn in_parts(&self, mut text: String, tops: &[usize], out: &mut Mistakes) -> Option<KdlDocument> {
        let ends = tops.iter().skip(1).copied().chain([text.len()]);
        for part in tops.iter().copied().zip(ends).map(|(start, end)| start..end.max(start)) {
            let Some(piece) = text.get(part.clone()) else { continue };
            let Err(error) = KdlDocument::parse_v2(piece) else { continue };
            self.unreadable(part.start, &error, out);
            let blank: String = piece.bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }).collect();
            text.replace_range(part, &blank);
        }
        KdlDocument::parse_v2(&text).ok()
    }

    /// What kdl says of a part: its first complaint, and none where the look at the text has found one nearby.
    fn unreadable(&self, base: usize, error: &KdlError, out: &mut Mistakes) {
        let Some(first) = error.diagnostics.iter().find(|d| d.message.is_some()).or(error.diagnostics.first()) else {
            return;
        };
        let span = self.file.span(base + first.span.offset(), first.span.len().max(1));
        if self.known.iter().any(|k| k.start < span.offset + span.len && span.offset < k.end) {
            return;
        }
        let message = first.message.clone().unwrap_or_else(|| "this cannot be read".into());
        let mut letters = message.chars();
        let title = letters.next().map(|c| c.to_lowercase().chain(letters).collect::<String>()).unwrap_or_default();
        let label = first.label.clone().unwrap_or_else(|| "here".into());
        let help = first.help.clone().unwrap_or_else(|| "a node is written `name \"text\" key=\"text\" { … }`".into());
        out.push(Diagnostic::error(codes::SYNTAX, title.trim_end_matches('.')).at(span, label).help(help));
    }
}
