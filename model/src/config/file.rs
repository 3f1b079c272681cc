//! One source while it is decoded: offsets to places, and what must not be shown.

use std::ops::Range;

use super::{Place, Source, Span};

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spanned<T> {
    pub value: T,
    pub span: Span,
}

/// A setting that may be absent, or present and wrong (and reported).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Field<T> {
    #[default]
    Absent,
    Bad,
    Good(Spanned<T>),
}

impl<T> Field<T> {
    /// What stands there, where it is right.
    pub fn get(&self) -> Option<&Spanned<T>> {
        match self {
            Field::Good(v) => Some(v),
            _ => None,
        }
    }

    pub fn is_absent(&self) -> bool {
        matches!(self, Field::Absent)
    }

    /// Present, with the outcome of its decoding.
    pub fn present(value: Option<Spanned<T>>) -> Self {
        value.map_or(Field::Bad, Field::Good)
    }
}

impl<T: Clone> Field<T> {
    /// This, or the default where this is absent.
    pub fn or(&self, default: &Field<T>) -> Field<T> {
        match self {
            Field::Absent => default.clone(),
            _ => self.clone(),
        }
    }
}

/// One source.
pub(super) struct File<'s> {
    pub index: usize,
    pub source: &'s Source,
    /// Offset of each line's first byte.
    lines: Vec<usize>,
    /// Bytes that hold a secret.
    pub secrets: Vec<Range<usize>>,
    /// Repairs made before parsing, in order: what kdl counts is behind by their growth.
    pub repairs: Vec<Repair>,
}

/// Bytes of a source that were replaced before it was parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repair {
    pub range: Range<usize>,
    pub text: String,
}

impl<'s> File<'s> {
    pub fn new(index: usize, source: &'s Source) -> Self {
        let lines = std::iter::once(0).chain(source.text.match_indices('\n').map(|(i, _)| i + 1)).collect();
        File { index, source, lines, secrets: Vec::new(), repairs: Vec::new() }
    }

    /// The text with its repairs.
    pub fn repaired(&self) -> String {
        let mut text = String::with_capacity(self.source.text.len());
        let mut done = 0;
        for repair in &self.repairs {
            text.push_str(self.source.text.get(done..repair.range.start).unwrap_or_default());
            text.push_str(&repair.text);
            done = repair.range.end;
        }
        text.push_str(self.source.text.get(done..).unwrap_or_default());
        text
    }

    /// From an offset into the repaired text to one into the source.
    fn original(&self, offset: usize, end: bool) -> usize {
        // `shift` is how far the repaired text is ahead of the source at the repair at hand.
        let mut shift = 0_isize;
        for repair in &self.repairs {
            let start = repair.range.start.saturating_add_signed(shift);
            let stop = start + repair.text.len();
            if offset < start || (end && offset == start) {
                break;
            }
            if offset < stop || (end && offset == stop) {
                return if end { repair.range.end } else { repair.range.start };
            }
            shift += repair.text.len() as isize - repair.range.len() as isize;
        }
        offset.saturating_add_signed(-shift).min(self.source.text.len())
    }

    /// From an offset into the source to one into the repaired text.
    pub fn parsed(&self, offset: usize) -> usize {
        let before = self.repairs.iter().take_while(|r| r.range.end <= offset);
        before.fold(offset, |at, r| (at + r.text.len()).saturating_sub(r.range.len()))
    }

    /// From kdl's offset and length to a span of the source.
    pub fn span(&self, offset: usize, len: usize) -> Span {
        let start = self.original(offset, false);
        let stop = self.original(offset + len, true).max(start);
        Span { source: self.index, offset: start, len: stop - start }
    }

    /// From a range of the source to a span.
    pub fn here(&self, range: Range<usize>) -> Span {
        Span { source: self.index, offset: range.start, len: range.len() }
    }

    /// A span of kdl's without the blanks around it, as start and end; offsets stay kdl's.
    pub fn trim(&self, offset: usize, len: usize) -> (usize, usize) {
        // Blanks are never repaired away, so counting them in the source is right.
        let span = self.span(offset, len);
        let text = self.source.text.get(span.offset..span.offset + span.len).unwrap_or_default();
        let before = text.len() - text.trim_start().len();
        let after = text.len() - text.trim_end().len();
        (offset + before, (offset + len).saturating_sub(after).max(offset + before))
    }

    pub fn place(&self, span: Span) -> Place {
        let line = self.lines.partition_point(|start| *start <= span.offset);
        Place { file: self.source.name.clone(), line: u32::try_from(line).unwrap_or(u32::MAX) }
    }

    /// The text of a span, or `(secret)` where it touches one.
    pub fn shown(&self, span: Span) -> String {
        let range = span.offset..span.offset + span.len;
        if self.secrets.iter().any(|s| s.start < range.end && range.start < s.end) {
            return "(secret)".into();
        }
        self.source.text.get(range).unwrap_or_default().to_owned()
    }
}
