//! Values: each turned into its type here or reported here, with the literal replacement.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use kdl::KdlValue;

use super::cursor::{Cursor, Value};
use super::file::{Field, Spanned};
use super::mistakes::{Mistakes, did_you_mean};
use super::{Diagnostic, Secret, codes};
use crate::units::{Cidr, InterfaceName, UnitError, parse_duration};

/// What a value is, in words: `an address`, and an example as it is written.
#[derive(Clone, Copy)]
pub(super) struct What<'a> {
    pub a: &'a str,
    pub example: &'static str,
}

pub(super) const NAME: What<'_> = What { a: "a name", example: "\"web\"" };
pub(super) const ADDRESS: What<'_> = What { a: "an address", example: "\"192.0.2.11\"" };
pub(super) const CIDR: What<'_> = What { a: "an address with its prefix", example: "\"192.0.2.10/24\"" };
pub(super) const ENDPOINT: What<'_> = What { a: "an address with a port", example: "\"192.0.2.11:5432\"" };
pub(super) const DURATION: What<'_> = What { a: "a duration", example: "\"2s\"" };
pub(super) const INTERFACE: What<'_> = What { a: "an interface", example: "\"eth0\"" };
pub(super) const PATH: What<'_> = What { a: "a path", example: "\"/usr/local/sbin/notify.sh\"" };
pub(super) const WORD: What<'_> = What { a: "a word", example: "\"never\"" };
pub(super) const SECRET: What<'_> = What { a: "a password", example: "(env)\"VIP_AUTH_PASS\"" };

/// What a priority is called in sentences.
pub(super) const PRIORITY: &str = "a priority";

/// The longest name, that of a DNS label.
const NAME_LIMIT: usize = 63;

impl<'n> Value<'n> {
    fn spanned<T>(&self, value: T) -> Spanned<T> {
        Spanned { value, span: self.span }
    }

    /// A mistake of this value, with its label.
    pub fn wrong(&self, code: codes::Code, title: impl Into<String>, label: impl Into<String>) -> Diagnostic {
        Diagnostic::error(code, title).at(self.span, label)
    }

    /// Reports a type annotation, which only secrets take.
    pub fn plain(&self, what: What<'_>, out: &mut Mistakes) -> bool {
        let Some(ty) = self.ty else { return true };
        out.push(match ty {
            "env" | "file" | "credential" => self
                .wrong(
                    codes::LATER_ANNOTATION,
                    format!("{} cannot be taken from elsewhere in this version", what.a),
                    format!("({ty}) is read only behind `key` and `auth-pass`"),
                )
                .help(format!("write the value itself, as in {}", what.example)),
            _ => self
                .wrong(codes::ANNOTATION, format!("there is no ({ty}) in this language"), "unknown annotation")
                .help(format!("write {}", what.example)),
        });
        false
    }

    /// A text.
    pub fn text(&self, what: What<'_>, out: &mut Mistakes) -> Option<Spanned<String>> {
        if !self.plain(what, out) {
            return None;
        }
        let KdlValue::String(text) = self.value else {
            out.push(
                self.wrong(
                    codes::WRONG_KIND,
                    format!("{} must be quoted", what.a),
                    format!("this is {}", kind(self.value)),
                )
                .help(format!("write it in quotes, as in {}", what.example)),
            );
            return None;
        };
        Some(self.spanned(text.clone()))
    }

    /// A name that people and machines can use: a label of letters, digits, `-`, `_` and `.`.
    pub fn name(&self, out: &mut Mistakes) -> Option<Spanned<String>> {
        let name = self.text(NAME, out)?;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let why = match name.value.as_str() {
            "" => "it is empty".to_owned(),
            n if n.len() > NAME_LIMIT => format!("it has {} bytes, at most {NAME_LIMIT} are possible", n.len()),
            n if !n.starts_with(|c: char| c.is_ascii_alphanumeric()) => "it must begin with a letter or a digit".into(),
            n => match n.chars().find(|c| !fits(*c)) {
                Some(c) => format!("{c:?} cannot stand in it"),
                None => return Some(name),
            },
        };
        let repaired: String =
            name.value.chars().map(|c| if fits(c) { c } else { '-' }).skip_while(|c| !c.is_alphanumeric()).collect();
        let repaired: String = repaired.chars().take(NAME_LIMIT).collect();
        let diagnostic = self.wrong(codes::BAD_NAME, format!("{} cannot be a name", self.shown()), why);
        out.push(match repaired.is_empty() {
            true => diagnostic.help("write a name of letters, digits, '-', '_' and '.': \"web\""),
            false => diagnostic.help(format!("write \"{repaired}\"")),
        });
        None
    }

    /// A whole number within a range.
    pub fn number(&self, what: &str, range: RangeInclusive<i64>, out: &mut Mistakes) -> Option<Spanned<i64>> {
        if !self.plain(What { a: what, example: "51" }, out) {
            return None;
        }
        let (low, high) = (range.start(), range.end());
        let number = match self.value {
            KdlValue::Integer(n) => i64::try_from(*n).ok(),
            KdlValue::String(s) if s.parse::<i64>().is_ok_and(|n| range.contains(&n)) => {
                out.push(
                    self.wrong(codes::WRONG_KIND, format!("{what} is a number, without quotes"), "this is a text")
                        .help(format!("write {s}")),
                );
                return None;
            }
            _ => {
                out.push(
                    self.wrong(
                        codes::WRONG_KIND,
                        format!("{what} is a whole number, {low} to {high}"),
                        format!("this is {}", kind(self.value)),
                    )
                    .help(format!("write a number from {low} to {high}")),
                );
                return None;
            }
        };
        match number.filter(|n| range.contains(n)) {
            Some(n) => Some(self.spanned(n)),
            None => {
                let near = match number {
                    Some(n) if n < *low => *low,
                    // 255 is the owner's alone, and nobody becomes it by a slip.
                    _ if what == PRIORITY => high - 1,
                    _ => *high,
                };
                out.push(
                    self.wrong(
                        codes::OUT_OF_RANGE,
                        format!("{what} is {low} to {high}, not {}", self.shown()),
                        "outside of the range",
                    )
                    .help(format!("write {near}, or another number from {low} to {high}")),
                );
                None
            }
        }
    }

    /// A TCP port.
    pub fn port(&self, out: &mut Mistakes) -> Option<Spanned<u16>> {
        if let KdlValue::String(s) = self.value
            && s.contains([',', '-'])
            && s.chars().all(|c| c.is_ascii_digit() || matches!(c, ',' | '-' | ' '))
        {
            out.later("a list or range of ports", self.span, "write a service for each port");
            return None;
        }
        let n = self.number("a port", 1..=65535, out)?;
        u16::try_from(n.value).ok().map(|port| self.spanned(port))
    }

    /// An address without prefix.
    pub fn address(&self, out: &mut Mistakes) -> Option<Spanned<IpAddr>> {
        let text = self.text(ADDRESS, out)?.value;
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(self.spanned(address));
        }
        let diagnostic = self.wrong(codes::BAD_ADDRESS, format!("\"{text}\" is not an IP address"), "no address");
        out.push(match text.split_once(['/', ':']) {
            Some((head, _)) if head.parse::<IpAddr>().is_ok() => {
                diagnostic.help(format!("only the address stands here: write \"{head}\""))
            }
            _ => diagnostic.help(address_help(&text)),
        });
        None
    }

    /// An address with its prefix.
    pub fn cidr(&self, out: &mut Mistakes) -> Option<Spanned<Cidr>> {
        let text = self.text(CIDR, out)?.value;
        let Some((head, tail)) = text.split_once('/') else {
            let parsed = text.parse::<IpAddr>();
            out.push(match parsed {
                Ok(address) => self
                    .wrong(
                        codes::BAD_PREFIX,
                        format!("{address} has no prefix"),
                        "the length of the network's prefix is missing",
                    )
                    .help(format!(
                        "write \"{address}/{}\" for its network, or \"{address}/{}\" for the address alone",
                        if address.is_ipv4() { 24 } else { 64 },
                        if address.is_ipv4() { 32 } else { 128 }
                    )),
                Err(_) => self
                    .wrong(codes::BAD_ADDRESS, format!("\"{text}\" is not an address with its prefix"), "no address")
                    .help(address_help(&text)),
            });
            return None;
        };
        let Ok(address) = head.parse::<IpAddr>() else {
            out.push(
                self.wrong(codes::BAD_ADDRESS, format!("\"{head}\" is not an IP address"), "no address")
                    .help(address_help(head)),
            );
            return None;
        };
        match tail.parse().ok().and_then(|prefix| Cidr::new(address, prefix).ok()) {
            Some(cidr) => Some(self.spanned(cidr)),
            None => {
                let most = if address.is_ipv4() { 32 } else { 128 };
                out.push(
                    self.wrong(
                        codes::BAD_PREFIX,
                        format!("/{tail} is not a prefix of {address}"),
                        format!("a prefix here is 0 to {most}"),
                    )
                    .help(format!("write \"{address}/{}\"", if address.is_ipv4() { 24 } else { 64 })),
                );
                None
            }
        }
    }

    /// An address and a port.
    pub fn endpoint(&self, out: &mut Mistakes) -> Option<Spanned<SocketAddr>> {
        let text = self.text(ENDPOINT, out)?.value;
        if let Ok(endpoint) = text.parse::<SocketAddr>()
            && endpoint.port() != 0
        {
            return Some(self.spanned(endpoint));
        }
        let diagnostic = self.wrong(
            codes::BAD_ADDRESS,
            format!("\"{text}\" is not an address with a port"),
            "no address with a port",
        );
        out.push(match (text.parse::<IpAddr>(), text.split_once(':')) {
            (Ok(IpAddr::V4(address)), _) => diagnostic.help(format!("the port is missing: write \"{address}:443\"")),
            (Ok(IpAddr::V6(address)), _) => diagnostic.help(format!("the port is missing: write \"[{address}]:443\"")),
            (_, Some(("localhost", port))) => diagnostic.help(format!("write \"127.0.0.1:{port}\"")),
            (_, Some((host, port))) if host.parse::<IpAddr>().is_err() => {
                diagnostic.help(format!("names are not looked up: write the address, as in \"192.0.2.11:{port}\""))
            }
            _ => diagnostic.help("write an address and a port from 1 to 65535, as in \"192.0.2.11:443\""),
        });
        None
    }

    /// A duration within a range.
    pub fn duration(&self, range: RangeInclusive<Duration>, out: &mut Mistakes) -> Option<Spanned<Duration>> {
        if let KdlValue::Integer(n) = self.value {
            out.push(
                self.wrong(codes::BAD_DURATION, "a duration needs its unit", "a bare number")
                    .help(format!("write \"{n}s\" for seconds or \"{n}ms\" for milliseconds")),
            );
            return None;
        }
        let text = self.text(DURATION, out)?.value;
        let Ok(duration) = parse_duration(&text) else {
            let diagnostic = self.wrong(codes::BAD_DURATION, format!("\"{text}\" is not a duration"), "no duration");
            out.push(match text.parse::<f64>() {
                Ok(_) => diagnostic.help(format!("the unit is missing: write \"{text}s\" or \"{text}ms\"")),
                Err(_) => diagnostic.help(
                    repaired_duration(&text).map_or("write a number with ms, s, m or h, as in \"250ms\"".into(), |d| {
                        format!("write \"{d}\"")
                    }),
                ),
            });
            return None;
        };
        if range.contains(&duration) {
            return Some(self.spanned(duration));
        }
        let (low, high) = (show(*range.start()), show(*range.end()));
        out.push(
            self.wrong(codes::BAD_DURATION, format!("{text} is not between {low} and {high}"), "outside of the range")
                .help(format!("write \"{}\"", if duration < *range.start() { low } else { high })),
        );
        None
    }

    /// The name of an interface.
    pub fn interface(&self, out: &mut Mistakes) -> Option<Spanned<InterfaceName>> {
        let text = self.text(INTERFACE, out)?;
        // nft takes `*` for a pattern and cannot quote the others; the kernel would have them.
        let odd = text.value.contains(['*', '"', '\\']).then(|| "nftables cannot name it".to_owned());
        let name = text.value.parse().map_err(|e: UnitError| e.to_string());
        match name.and_then(|name| odd.map_or(Ok(name), Err)) {
            Ok(name) => Some(self.spanned(name)),
            Err(why) => {
                out.push(
                    self.wrong(codes::BAD_INTERFACE, format!("{} cannot be an interface", self.shown()), why)
                        .help("write its name as `ip link` shows it, as in \"eth0\""),
                );
                None
            }
        }
    }

    /// An absolute path without odd bytes.
    pub fn path(&self, out: &mut Mistakes) -> Option<Spanned<String>> {
        let text = self.text(PATH, out)?;
        if text.value.starts_with('/') && !text.value.contains('\0') {
            return Some(text);
        }
        out.push(
            self.wrong(codes::BAD_PATH, format!("{} is not an absolute path", self.shown()), "must begin with `/`")
                .help(format!(
                    "write where it is, as in \"/usr/local/sbin/{}\"",
                    text.value.rsplit('/').next().unwrap_or_default()
                )),
        );
        None
    }

    /// One of some words.
    pub fn word<T: Copy>(&self, what: &str, words: &[(&'static str, T)], out: &mut Mistakes) -> Option<Spanned<T>> {
        let text = self.text(WORD, out)?.value;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(self.spanned(*value));
        }
        out.push(
            self.wrong(codes::BAD_WORD, format!("there is no {what} \"{text}\""), "unknown word").helps(did_you_mean(
                &text,
                words.iter().map(|(word, _)| *word),
                |word| format!("\"{word}\""),
            )),
        );
        None
    }

    /// A value that may have to be taken from elsewhere. What is written out is never shown.
    pub fn secret(&self, out: &mut Mistakes) -> Option<Spanned<Secret>> {
        let KdlValue::String(text) = self.value else {
            out.push(
                self.wrong(codes::WRONG_KIND, "a password must be quoted", "this is not a text")
                    .help(format!("write {}", SECRET.example)),
            );
            return None;
        };
        let (secret, name) = match self.ty {
            None => (Secret::Literal(text.clone()), true),
            Some("env") => (Secret::Env(text.clone()), !text.is_empty() && !text.contains(['=', '\0'])),
            Some("file") => (Secret::File(text.clone()), text.starts_with('/') && !text.contains('\0')),
            Some("credential") => (
                Secret::Credential(text.clone()),
                !matches!(text.as_str(), "" | "." | "..") && !text.contains(['/', '\0']),
            ),
            Some(ty) => {
                out.push(
                    self.wrong(codes::ANNOTATION, format!("there is no ({ty}) in this language"), "unknown annotation")
                        .helps(did_you_mean(ty, ["env", "file", "credential"].into_iter(), |t| format!("({t})"))),
                );
                return None;
            }
        };
        if !name {
            out.push(self.bad_secret_name());
            return None;
        }
        Some(self.spanned(secret))
    }

    fn bad_secret_name(&self) -> Diagnostic {
        let (label, help) = match self.ty {
            Some("env") => ("not the name of a variable", "write (env)\"VIP_AUTH_PASS\""),
            Some("file") => ("not an absolute path", "write (file)\"/etc/hactl/cluster.key\""),
            _ => ("not the name of a credential", "write (credential)\"cluster-key\""),
        };
        self.wrong(codes::BAD_NAME, format!("{} names nothing a value could be in", self.shown()), label).help(help)
    }
}

/// What a value is, in words.
fn kind(value: &KdlValue) -> &'static str {
    match value {
        KdlValue::String(_) => "a text",
        KdlValue::Integer(_) => "a number",
        KdlValue::Float(_) => "a number with a fraction",
        KdlValue::Bool(_) => "a truth value",
        KdlValue::Null => "null",
    }
}

/// What is likely meant where an address is wrong.
fn address_help(text: &str) -> String {
    match text {
        "localhost" => "write \"127.0.0.1\"".into(),
        _ if text.contains(|c: char| c.is_ascii_alphabetic()) && !text.contains(':') => {
            format!("names are not looked up: write the address of {text}, as in {}", ADDRESS.example)
        }
        _ => "write four numbers from 0 to 255 with dots, as in \"192.0.2.11\"".into(),
    }
}

/// `3 sec`, `3000 ms`, `1min`, `2S` as this language writes them.
pub(super) fn repaired_duration(text: &str) -> Option<String> {
    let text = text.trim().to_lowercase();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(split);
    let unit = match unit.trim() {
        "ms" | "msec" | "msecs" | "millis" | "milliseconds" => "ms",
        "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "m" | "min" | "mins" | "minute" | "minutes" => "m",
        "h" | "hour" | "hours" | "hr" => "h",
        _ => return None,
    };
    let repaired = format!("{number}{unit}");
    parse_duration(&repaired).ok().map(|_| repaired)
}

fn show(d: Duration) -> String {
    crate::units::show_duration(d)
}

/// The one argument of a child that holds a value: absent, wrong, or decoded.
pub(super) fn setting<'n, T>(
    parent: &mut Cursor<'n>,
    name: &'static str,
    out: &mut Mistakes,
    decode: impl FnOnce(&Value<'n>, &mut Mistakes) -> Option<Spanned<T>>,
) -> Field<T> {
    let Some(mut child) = parent.child(name, out) else { return Field::Absent };
    let value = only_argument(&mut child, out);
    child.finish(out);
    Field::present(value.and_then(|v| decode(&v, out)))
}

/// The argument of a node that needs one.
pub(super) fn only_argument<'n>(node: &mut Cursor<'n>, out: &mut Mistakes) -> Option<Value<'n>> {
    let value = node.argument();
    if value.is_none() {
        out.push(
            Diagnostic::error(codes::MISSING, format!("{} needs a value", node.title()))
                .at(node.span(), "nothing follows"),
        );
    }
    value
}

/// A child that says something by standing there.
pub(super) fn flag(parent: &mut Cursor<'_>, name: &'static str, out: &mut Mistakes) -> Field<bool> {
    let Some(mut child) = parent.child(name, out) else { return Field::Absent };
    let span = child.span();
    if let Some(value) = child.argument() {
        let yes = matches!(value.value, KdlValue::Bool(true));
        out.push(
            value
                .wrong(
                    codes::SURPLUS,
                    format!("{name} is said by standing there, without a value"),
                    "nothing follows it",
                )
                .help(if yes {
                    format!("write `{name}` alone")
                } else {
                    format!("write `{name}` alone, or leave it out")
                }),
        );
        child.arguments();
        child.finish(out);
        return Field::Bad;
    }
    child.finish(out);
    Field::Good(Spanned { value: true, span })
}

/// The identity of a named node: its first argument.
pub(super) fn identity(node: &mut Cursor<'_>, out: &mut Mistakes) -> Option<Spanned<String>> {
    let Some(value) = node.argument() else {
        let name = node.name();
        out.push(
            Diagnostic::error(codes::MISSING, format!("{name} needs a name"))
                .at(node.span(), "nothing names it")
                .help(format!("write `{name} \"NAME\" …`")),
        );
        return None;
    };
    let name = value.name(out)?;
    node.identified(&name.value);
    Some(name)
}
