//! Netlink messages as bytes: a builder for requests and a reader of answers that takes any bytes without a panic.

use netlink_packet_core::{NetlinkBuffer, NlasIterator};

/// Marks an attribute that holds attributes (linux/netlink.h NLA_F_NESTED).
const NESTED: u16 = 1 << 15;

/// Length of a netlink message's header.
const HEADER: usize = 16;

/// Length of an attribute's header.
const ATTRIBUTE_HEADER: usize = 4;

/// Requests that go to the kernel in one `send`, numbered from a first sequence number.
#[derive(Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    first: u32,
    count: u32,
}

impl Batch {
    /// Empty; the first request gets the sequence number `first`.
    pub fn new(first: u32) -> Batch {
        Batch { bytes: Vec::with_capacity(4096), first, count: 0 }
    }

    /// Appends a request; NLM_F_REQUEST is implied.
    pub fn request(&mut self, kind: u16, flags: i32, body: impl FnOnce(&mut Body)) {
        let start = self.bytes.len();
        let flags = (flags | libc::NLM_F_REQUEST) as u16;
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&self.first.wrapping_add(self.count).to_ne_bytes());
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        let mut whole = Body(std::mem::take(&mut self.bytes));
        body(&mut whole);
        self.bytes = whole.0;
        let length = (self.bytes.len() - start) as u32;
        patch(&mut self.bytes, start, &length.to_ne_bytes());
        self.count += 1;
    }

    /// What is sent.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Sequence number of the first request.
    pub fn first(&self) -> u32 {
        self.first
    }

    /// How many requests.
    pub fn count(&self) -> u32 {
        self.count
    }
}

/// The part of a request behind its header.
#[derive(Debug)]
pub struct Body(Vec<u8>);

impl Body {
    /// Appends bytes as they are, padded to four.
    pub fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// Appends an attribute.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.0.extend_from_slice(&((value.len() + ATTRIBUTE_HEADER) as u16).to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.put(value);
    }

    /// Appends a text attribute with its closing zero.
    pub fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes);
    }

    /// Appends an attribute that holds what `inside` appends.
    pub fn nest(&mut self, kind: u16, inside: impl FnOnce(&mut Body)) {
        let start = self.0.len();
        self.0.extend_from_slice(&0u16.to_ne_bytes());
        self.0.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        inside(self);
        let length = (self.0.len() - start) as u16;
        patch(&mut self.0, start, &length.to_ne_bytes());
    }
}

/// Writes a length that is known only now.
fn patch(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

/// One netlink message as received.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Its type.
    pub kind: u16,
    /// NLM_F_….
    pub flags: u16,
    /// The request's number that it answers, 0 for an event of the kernel's own.
    pub sequence: u32,
    /// Port of the socket whose request caused it, 0 for the kernel's own.
    pub port: u32,
    /// Behind the header.
    pub payload: &'a [u8],
}

/// The messages of one datagram; what is malformed ends it.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let (message, length) = first(bytes)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

fn first(bytes: &[u8]) -> Option<(Message<'_>, usize)> {
    let header = NetlinkBuffer::new_checked(bytes).ok()?;
    let length = usize::try_from(header.length()).ok()?;
    let message = Message {
        kind: header.message_type(),
        flags: header.flags(),
        sequence: header.sequence_number(),
        port: header.port_number(),
        payload: bytes.get(HEADER..length)?,
    };
    Some((message, length))
}

/// The first attribute of this kind among those from `offset` on.
pub fn attribute(bytes: &[u8], offset: usize, kind: u16) -> Option<&[u8]> {
    let found = NlasIterator::new(bytes.get(offset..)?).map_while(Result::ok).find(|a| a.kind() == kind)?;
    let length = usize::from(found.length());
    found.into_inner().get(ATTRIBUTE_HEADER..length)
}

/// A native 32-bit number at the start.
pub fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(offset..offset.checked_add(4)?)?.try_into().ok()?))
}

/// Text up to its closing zero.
pub fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes.split(|b| *b == 0).next()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_built_is_read_back() {
        let mut batch = Batch::new(7);
        batch.request(20, libc::NLM_F_ACK, |b| {
            b.put(&[1, 2, 3, 4]);
            b.text(3, "eth0");
            b.nest(5, |b| b.attribute(1, &[9]));
        });
        batch.request(21, 0, |_| {});
        let read: Vec<_> = messages(batch.bytes()).collect();
        assert_eq!(read.iter().map(|m| (m.kind, m.sequence)).collect::<Vec<_>>(), [(20, 7), (21, 8)]);
        let payload = read[0].payload;
        assert_eq!(attribute(payload, 4, 3).and_then(text), Some("eth0"));
        assert_eq!(attribute(attribute(payload, 4, 5).unwrap(), 0, 1), Some(&[9][..]));
        assert_eq!(attribute(payload, 4, 6), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, offset in 0usize..40, kind in 0u16..20) {
            for message in messages(&bytes) {
                attribute(message.payload, offset, kind);
            }
            attribute(&bytes, offset, kind);
            u32_at(&bytes, offset);
            text(&bytes);
        }
    }
}
