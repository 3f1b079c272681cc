//! A walk over one node that marks what it has taken, so that whatever is left over is a mistake.

use std::collections::BTreeMap;

use kdl::{KdlEntry, KdlNode, KdlValue};

use super::codes;
use super::file::{File, Spanned};
use super::mistakes::{Mistakes, did_you_mean, is_like};
use super::{Diagnostic, Span};

/// A value with its place.
#[derive(Clone, Copy)]
pub(super) struct Value<'n> {
    pub file: &'n File<'n>,
    pub value: &'n KdlValue,
    /// The type annotation.
    pub ty: Option<&'n str>,
    pub span: Span,
}

impl<'n> Value<'n> {
    fn new(file: &'n File<'n>, entry: &'n KdlEntry) -> Self {
        let span = entry.span();
        let (start, end) = file.trim(span.offset(), span.len());
        let repr = entry.format().map_or(0, |f| f.value_repr.len());
        // A property's span begins at its name; the value ends it, with its annotation before.
        let ty = entry.ty().map_or(0, |t| t.repr().map_or(t.value().len(), str::len) + 2);
        let begin = match entry.name() {
            Some(_) if repr > 0 => end.saturating_sub(repr + ty).max(start),
            _ => start,
        };
        Value {
            file,
            value: entry.value(),
            ty: entry.ty().map(|t| t.value()),
            span: file.span(begin, end.saturating_sub(begin)),
        }
    }

    /// The text as it stands in the file, or `(secret)`.
    pub fn shown(&self) -> String {
        self.file.shown(self.span)
    }
}

/// Names of children that are in no language: a setting that one of them resembles is not reported as missing.
#[derive(Debug, Clone, Default)]
pub(super) struct Misspelt(Vec<String>);

impl Misspelt {
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|wrong| is_like(wrong, name))
    }
}

/// Names of things asked for, so that a typing error can be recognised.
#[derive(Default)]
struct Asked {
    children: Vec<&'static str>,
    properties: Vec<String>,
}

/// One node while it is decoded.
pub(super) struct Cursor<'n> {
    pub file: &'n File<'n>,
    node: &'n KdlNode,
    /// What it is, for sentences: `vip "ui"`.
    title: String,
    taken: Vec<bool>,
    children_taken: Vec<bool>,
    asked: Asked,
}

impl<'n> Cursor<'n> {
    pub fn new(file: &'n File<'n>, node: &'n KdlNode) -> Self {
        Cursor {
            file,
            node,
            title: node.name().value().to_owned(),
            taken: vec![false; node.entries().len()],
            children_taken: vec![false; node.children().map_or(0, |d| d.nodes().len())],
            asked: Asked::default(),
        }
    }

    pub fn name(&self) -> &'n str {
        self.node.name().value()
    }

    pub fn title(&self) -> &str {
        &self.title
    }

    /// Completes the title with the node's identity: `vip "ui"`.
    pub fn identified(&mut self, name: &str) {
        self.title = format!("{} \"{name}\"", self.name());
    }

    /// Where the node's name stands.
    pub fn span(&self) -> Span {
        let span = self.node.name().span();
        self.file.span(span.offset(), span.len())
    }

    /// The next argument.
    pub fn argument(&mut self) -> Option<Value<'n>> {
        let (taken, entry) =
            self.taken.iter_mut().zip(self.node.entries()).find(|(taken, e)| !**taken && e.name().is_none())?;
        *taken = true;
        Some(Value::new(self.file, entry))
    }

    /// Every argument that is left.
    pub fn arguments(&mut self) -> Vec<Value<'n>> {
        let file = self.file;
        let arguments = self.taken.iter_mut().zip(self.node.entries()).filter(|(t, e)| !**t && e.name().is_none());
        arguments
            .map(|(taken, entry)| {
                *taken = true;
                Value::new(file, entry)
            })
            .collect()
    }

    /// A property; a second one of its name is a duplicate.
    pub fn property(&mut self, name: &str, out: &mut Mistakes) -> Option<Value<'n>> {
        self.asked.properties.push(name.to_owned());
        let mut first: Option<Value<'n>> = None;
        for (taken, entry) in self.taken.iter_mut().zip(self.node.entries()) {
            if entry.name().is_none_or(|n| n.value() != name) {
                continue;
            }
            *taken = true;
            let value = Value::new(self.file, entry);
            match first {
                None => first = Some(value),
                Some(before) => out.duplicate(&format!("{name}="), before.span, value.span),
            }
        }
        first
    }

    /// Whether a property stands there that is likely this one, misspelt.
    pub fn has_property_like(&self, name: &str) -> bool {
        self.node.entries().iter().filter_map(|e| e.name()).any(|n| n.value() != name && is_like(n.value(), name))
    }

    /// Every property that is left, with its name: for nodes whose properties are names of the user's.
    pub fn properties(&mut self, out: &mut Mistakes) -> Vec<(Spanned<String>, Value<'n>)> {
        let mut found: Vec<(Spanned<String>, Value<'n>)> = Vec::new();
        for (taken, entry) in self.taken.iter_mut().zip(self.node.entries()) {
            let Some(name) = entry.name().filter(|_| !*taken) else { continue };
            *taken = true;
            let span = self.file.span(name.span().offset(), name.span().len());
            let name = Spanned { value: name.value().to_owned(), span };
            match found.iter().find(|(n, _)| n.value == name.value) {
                Some((before, _)) => out.duplicate(&format!("{}=", name.value), before.span, name.span),
                None => found.push((name, Value::new(self.file, entry))),
            }
        }
        found
    }

    /// The only child of that name; a second one is a duplicate.
    pub fn child(&mut self, name: &'static str, out: &mut Mistakes) -> Option<Cursor<'n>> {
        let mut all = self.children(name).into_iter();
        let first = all.next()?;
        for again in all {
            out.duplicate(&format!("{name} of {}", self.title), first.span(), again.span());
        }
        Some(first)
    }

    /// Every child of that name.
    pub fn children(&mut self, name: &'static str) -> Vec<Cursor<'n>> {
        self.asked.children.push(name);
        let file = self.file;
        let Some(document) = self.node.children() else { return Vec::new() };
        let mut found = Vec::new();
        for (taken, node) in self.children_taken.iter_mut().zip(document.nodes()) {
            if node.name().value() == name {
                *taken = true;
                found.push(Cursor::new(file, node));
            }
        }
        found
    }

    /// Every child of that name, which is none of this language: it is not offered to who misspells another.
    pub fn hidden(&mut self, name: &str) -> Vec<Cursor<'n>> {
        let file = self.file;
        let nodes = self.node.children().map_or(&[][..], |d| d.nodes());
        let found = self.children_taken.iter_mut().zip(nodes).filter(|(_, node)| node.name().value() == name);
        found
            .map(|(taken, node)| {
                *taken = true;
                Cursor::new(file, node)
            })
            .collect()
    }

    /// Every child in the order of the file, where the order is what is said.
    pub fn every_child(&mut self) -> Vec<Cursor<'n>> {
        self.asked.children.push("");
        self.children_taken.fill(true);
        let file = self.file;
        self.node.children().map_or(&[][..], |d| d.nodes()).iter().map(|node| Cursor::new(file, node)).collect()
    }

    /// Children that nobody has taken so far.
    pub fn misspelt(&self) -> Misspelt {
        let nodes = self.node.children().map_or(&[][..], |d| d.nodes());
        let left = self.children_taken.iter().zip(nodes).filter(|(taken, _)| !**taken);
        Misspelt(left.map(|(_, node)| node.name().value().to_owned()).collect())
    }

    /// Refuses by name what a later version brings: `(name, what to do instead)`.
    pub fn later(&mut self, features: &[(&'static str, &str)], out: &mut Mistakes) {
        for (name, instead) in features {
            for child in self.children(name) {
                out.later(child.name(), child.span(), instead);
            }
        }
    }

    /// Reports whatever nobody asked for.
    pub fn finish(self, out: &mut Mistakes) {
        for (taken, entry) in self.taken.iter().zip(self.node.entries()) {
            if !taken {
                self.surplus(entry, out);
            }
        }
        let Some(document) = self.node.children() else { return };
        if self.asked.children.is_empty() && !document.nodes().is_empty() {
            out.push(
                Diagnostic::error(codes::SURPLUS, format!("{} takes no block", self.title))
                    .at(self.span(), "nothing can stand in `{ … }` here")
                    .help(format!("remove the block of {}", self.title)),
            );
            return;
        }
        for (taken, node) in self.children_taken.iter().zip(document.nodes()) {
            if !taken {
                self.unknown_child(node, out);
            }
        }
    }

    fn surplus(&self, entry: &'n KdlEntry, out: &mut Mistakes) {
        let value = Value::new(self.file, entry);
        let Some(name) = entry.name() else {
            let diagnostic = Diagnostic::error(codes::SURPLUS, format!("{} takes no further argument", self.title))
                .at(value.span, "nothing is expected here");
            out.push(match value.value.as_string().filter(|s| self.asked.children.contains(s)) {
                Some(word) => diagnostic.help(format!("settings stand in a block: write `{{ {word} … }}`")),
                None => diagnostic.help(format!("remove {}", value.shown())),
            });
            return;
        };
        let span = self.file.span(name.span().offset(), name.span().len());
        let title = format!("{} has no property {}", self.title, name.value());
        let diagnostic = Diagnostic::error(codes::UNKNOWN_PROPERTY, title).at(span, "unknown property");
        let known = self.asked.properties.iter().map(String::as_str);
        out.push(if self.asked.children.contains(&name.value()) {
            diagnostic.help(format!("write it in the block: `{{ {} {} }}`", name.value(), value.shown()))
        } else {
            match self.asked.properties.is_empty() {
                true => diagnostic.help(format!("{} has no properties: settings stand in its block", self.title)),
                false => diagnostic.helps(did_you_mean(name.value(), known, |right| format!("{right}="))),
            }
        });
    }

    fn unknown_child(&self, node: &'n KdlNode, out: &mut Mistakes) {
        let name = node.name().value();
        let span = self.file.span(node.name().span().offset(), node.name().span().len());
        let title = format!("{} has no setting {name}", self.title);
        let diagnostic = Diagnostic::error(codes::UNKNOWN_NODE, title).at(span, "unknown setting");
        out.push(if self.asked.properties.iter().any(|p| p == name) {
            diagnostic.help(format!("it is a property: write `{} … {name}=…`", self.name()))
        } else {
            diagnostic.helps(did_you_mean(name, self.asked.children.iter().copied(), str::to_owned))
        });
    }
}

/// Names that may stand only once, with the place of the first.
pub(super) struct Names {
    kind: &'static str,
    places: BTreeMap<String, Span>,
}

impl Names {
    pub fn of(kind: &'static str) -> Self {
        Names { kind, places: BTreeMap::new() }
    }

    /// Passes on what has a name that was not there before. What could not be read may be what others refer to.
    pub fn keep<T>(&mut self, item: Option<T>, name: fn(&T) -> &Spanned<String>, out: &mut Mistakes) -> Option<T> {
        let Some(item) = item else {
            out.incomplete = true;
            return None;
        };
        let Spanned { value, span } = name(&item);
        if let Some(before) = self.places.get(value) {
            out.duplicate(&format!("{} \"{value}\"", self.kind), *before, *span);
            return None;
        }
        self.places.insert(value.clone(), *span);
        Some(item)
    }
}
