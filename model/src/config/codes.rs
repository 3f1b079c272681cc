//! The codes of every diagnostic: stable, so that they can be searched for. A code is never given another meaning.

/// A diagnostic's code.
pub type Code = &'static str;

/// Declares the constants and the table that lists them.
macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal;)*) => {
        $($(#[doc = $doc])* pub const $name: Code = $code;)*
        /// Every code with its meaning.
        pub const TABLE: &[(Code, &str)] = &[$(($code, concat!($($doc),*))),*];
    };
}

codes! {
    /// The text is not KDL, for a reason that has no code of its own.
    SYNTAX = "HA0101";
    /// An address, a duration or a path stands without quotes.
    UNQUOTED = "HA0102";
    /// `true`, `false` or `null` stands without `#`, or `yes`, `no`, `on`, `off` where a flag belongs.
    BARE_WORD = "HA0103";
    /// A colon after a name, as in YAML.
    COLON = "HA0104";
    /// An equals sign after the name of a node, as in TOML or HCL.
    EQUALS = "HA0105";
    /// A block is not closed.
    UNCLOSED_BLOCK = "HA0106";
    /// A closing brace that closes nothing.
    STRAY_BRACE = "HA0107";
    /// Typographic quotes.
    SMART_QUOTES = "HA0108";
    /// A quoted string or a comment is not closed.
    UNCLOSED_STRING = "HA0109";
    /// Blocks stand too deep in each other.
    TOO_DEEP = "HA0110";
    /// The file is too large.
    TOO_LARGE = "HA0111";
    /// A comment as in another language: `# …` or `-- …`.
    FOREIGN_COMMENT = "HA0112";
    /// Brackets, commas or a semicolon where KDL has none.
    PUNCTUATION = "HA0113";

    /// A node that the language does not have there.
    UNKNOWN_NODE = "HA0201";
    /// A property that the node does not have.
    UNKNOWN_PROPERTY = "HA0202";
    /// More arguments, or a block, than the node takes.
    SURPLUS = "HA0203";
    /// A name or a setting stands twice.
    DUPLICATE = "HA0204";
    /// Something that is needed is absent.
    MISSING = "HA0205";
    /// A name that cannot be one.
    BAD_NAME = "HA0206";
    /// A type annotation that the language does not have there.
    ANNOTATION = "HA0207";

    /// A value of another kind: a number where a text belongs, or the reverse.
    WRONG_KIND = "HA0301";
    /// Not an address, or an address that cannot be used there.
    BAD_ADDRESS = "HA0302";
    /// The length of a prefix is missing or impossible.
    BAD_PREFIX = "HA0303";
    /// Not a duration, or one outside of what is possible.
    BAD_DURATION = "HA0304";
    /// A number outside of its range.
    OUT_OF_RANGE = "HA0305";
    /// A word that is none of those possible.
    BAD_WORD = "HA0306";
    /// Not a URL that a check can ask.
    BAD_URL = "HA0307";
    /// Not the name of an interface.
    BAD_INTERFACE = "HA0308";
    /// A password that VRRPv2 cannot carry.
    BAD_PASSWORD = "HA0309";
    /// An advert interval that the wire cannot carry.
    BAD_ADVERT = "HA0310";
    /// Not the name of a sysctl.
    BAD_SYSCTL = "HA0311";
    /// Not the path of a program or a file.
    BAD_PATH = "HA0312";

    /// No peer of that name.
    UNKNOWN_PEER = "HA0401";
    /// No check of that name.
    UNKNOWN_CHECK = "HA0402";
    /// No vip of that name.
    UNKNOWN_VIP = "HA0403";
    /// Two vips with one VRID on one segment.
    VRID_TAKEN = "HA0404";
    /// Two vips, or two peers, with one address.
    ADDRESS_TAKEN = "HA0405";
    /// A vip's address is a machine's own.
    ADDRESS_OF_MACHINE = "HA0406";
    /// Two services on one port of one vip.
    PORT_TAKEN = "HA0407";
    /// Priority 255 without owning the address.
    NOT_OWNER = "HA0408";
    /// Settings that belong to different versions of VRRP.
    VERSION_CONFLICT = "HA0409";
    // HA0410 was of a release that refused more addresses than an advert carries.
    /// A unicast member that cannot be reached over a family of the vip.
    UNICAST_FAMILY = "HA0411";
    /// A vip in two groups.
    GROUP_TAKEN = "HA0412";
    /// Vips of a group that differ in what they have to have in common.
    GROUP_CONFLICT = "HA0413";
    /// A route of a family that its vip has no address of.
    ROUTE_FAMILY = "HA0414";
    /// An interface that no vip of a peer is on.
    UNKNOWN_INTERFACE = "HA0420";

    /// Members with one priority.
    EQUAL_PRIORITIES = "HA0501";
    /// A weight that can never move the vip.
    WEIGHT_TOO_SMALL = "HA0502";
    /// A check that no vip tracks, or a peer that is no member.
    UNUSED = "HA0503";
    /// A password written out in the file.
    LITERAL_SECRET = "HA0504";
    /// A service that leaves out part of its vip's addresses.
    SERVICE_PARTIAL = "HA0505";

    /// IPv6 where this version does not have it.
    LATER_IPV6 = "HA0901";
    /// A node or setting that this version does not have.
    LATER_FEATURE = "HA0902";
    /// A value from elsewhere where this version takes only a written one.
    LATER_ANNOTATION = "HA0903";
}
