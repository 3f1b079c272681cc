//! `tshark` as the judge of frames.

use std::fmt::Write as _;
use std::process::Command;

/// What tshark makes of frames, a row for each: these fields, several values of one joined by commas. Fails where it
/// has anything to remark on (its expert information, down to notes).
pub fn dissect(frames: &[Vec<u8>], preferences: &[&str], fields: &[&str]) -> Vec<Vec<String>> {
    const REMARKS: [&str; 3] = ["_ws.expert.severity", "_ws.expert.message", "_ws.malformed"];
    let file = tempfile::NamedTempFile::with_suffix(".pcap").unwrap();
    std::fs::write(file.path(), pcap(frames)).unwrap();
    let mut tshark = Command::new("tshark");
    tshark.args(["-n", "-T", "fields", "-E", "separator=|", "-E", "occurrence=a", "-r"]).arg(file.path());
    tshark.args(preferences.iter().flat_map(|preference| ["-o", preference]));
    tshark.args(REMARKS.iter().chain(fields).flat_map(|field| ["-e", field]));
    let output = tshark.output().unwrap_or_else(|e| panic!("tshark: {e}"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let row = |(n, line): (usize, &str)| {
        let mut values = line.split('|').map(str::to_owned);
        let remarks: Vec<String> = values.by_ref().take(REMARKS.len()).collect();
        // Severity 1048576 and less is a comment or a chat.
        let grave =
            remarks[0].split(',').any(|s| s.parse().is_ok_and(|s: u32| s > 0x20_0000)) || !remarks[2].is_empty();
        assert!(!grave, "frame {n}: tshark remarks {remarks:?}\n{}", hex(&frames[n]));
        // A truth is 1 or 0 up to version 4.0, and a word later.
        let number = |value: String| match value.as_str() {
            "True" => "1".to_owned(),
            "False" => "0".to_owned(),
            _ => value,
        };
        values.map(number).collect::<Vec<_>>()
    };
    let rows: Vec<_> = text.lines().enumerate().map(row).collect();
    assert_eq!(rows.len(), frames.len(), "tshark saw other frames than these\n{text}");
    rows
}

/// A capture file as libpcap writes it, of Ethernet.
fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    const ETHERNET: u32 = 1;
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    let mut file = words(&[0xa1b2_c3d4, 0x0002_0004, 0, 0, 0xffff, ETHERNET]);
    for (n, frame) in frames.iter().enumerate() {
        let length = u32::try_from(frame.len()).unwrap();
        file.extend(words(&[u32::try_from(n).unwrap(), 0, length, length]));
        file.extend_from_slice(frame);
    }
    file
}

/// Bytes for people, and for `text2pcap`.
pub fn hex(bytes: &[u8]) -> String {
    bytes.chunks(16).enumerate().fold(String::new(), |mut text, (n, line)| {
        write!(text, "{:04x}", n * 16).unwrap();
        line.iter().for_each(|byte| write!(text, " {byte:02x}").unwrap());
        text + "\n"
    })
}
