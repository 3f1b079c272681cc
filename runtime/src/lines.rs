//! Lines for who may not read them: a terminal that was stopped, a pipe whose reader hangs, a journal on a full disk.
//! They are written by a thread of their own; what does not fit is lost, counted, and told of in its place.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

/// Lines that may wait for the writer.
const WAITING: usize = 4096;

/// How long the last lines may take to be read: at the end, whoever reads at all has read by then.
pub const FINISH: Duration = Duration::from_millis(200);

/// How often room is looked for meanwhile.
const AGAIN: Duration = Duration::from_millis(2);

/// Standard error, by a thread that is started with the first line.
pub static LOG: LazyLock<Lines> = LazyLock::new(|| {
    // journald takes a line's level from its front (sd-daemon(3)).
    let front = if std::env::var_os("JOURNAL_STREAM").is_some() { "<4>" } else { " WARN " };
    Lines::open(io::stderr(), move |n| {
        format!("{front}{n} lines of the log are missing here: they were not read in time\n")
    })
});

enum Message {
    Line(Vec<u8>),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
}

/// The near end.
#[derive(Debug, Clone)]
pub struct Lines {
    messages: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

impl Lines {
    /// Lines go to `to`; where some are lost, a line that `missing` makes of their number stands in their place.
    pub fn open(to: impl Write + Send + 'static, missing: impl Fn(u64) -> String + Send + 'static) -> Self {
        let (messages, inbox) = sync_channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&lost);
        // Where no thread is to be had, nobody listens and lines are lost.
        let _ = thread::Builder::new().name("lines".into()).spawn(move || write(&inbox, to, (&counter, &missing)));
        Lines { messages, lost }
    }

    /// One line, with its end. Never waits.
    pub fn tell(&self, line: Vec<u8>) {
        if self.messages.try_send(Message::Line(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything told so far is written, or `limit`. Says whether it is.
    pub fn flush(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let (done, written) = sync_channel(1);
        let mut message = Message::Flush(done);
        loop {
            match self.messages.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) if Instant::now() < end => message = back,
                Err(_) => return false,
            }
            thread::sleep(AGAIN);
        }
        written.recv_timeout(end.saturating_duration_since(Instant::now())).is_ok()
    }
}

fn write(inbox: &Receiver<Message>, mut to: impl Write, (lost, missing): (&AtomicU64, &dyn Fn(u64) -> String)) {
    for message in inbox {
        // What cannot be written (a full disk, a reader that is gone) is left out; the next line may be luckier.
        let asked = match message {
            Message::Line(line) => {
                let _ = to.write_all(&line);
                None
            }
            Message::Flush(done) => Some(done),
        };
        // Lost was what came after all that waits, but whoever reads again wants to know at once.
        let n = lost.swap(0, Ordering::Relaxed);
        if n > 0 {
            let _ = to.write_all(missing(n).as_bytes());
        }
        let _ = to.flush();
        if let Some(done) = asked {
            // Whoever asked may have waited long enough.
            let _ = done.try_send(());
        }
    }
}

/// A writer of single lines for `tracing`: each event comes in one call.
#[derive(Debug, Clone, Copy)]
pub struct Log;

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LOG.tell(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn numbered(n: usize) -> Vec<u8> {
        format!("{n:0>100}\n").into_bytes()
    }

    #[test]
    fn who_does_not_read_holds_up_nobody_and_later_learns_how_much_is_missing() {
        let (mut reader, writer) = UnixStream::pair().unwrap();
        let lines = Lines::open(writer, |n| format!("{n} missing\n"));
        let told = 5 * WAITING;
        let start = Instant::now();
        (0..told).for_each(|n| lines.tell(numbered(n)));
        assert!(!lines.flush(Duration::from_millis(20)));
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        let read = thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text).unwrap()
        });
        assert!(lines.flush(Duration::from_secs(10)));
        drop(lines);
        let text = read.join().unwrap();
        let missing: Vec<&str> = text.lines().filter_map(|l| l.strip_suffix(" missing")).collect();
        let missing: usize = missing.iter().map(|n| n.parse::<usize>().unwrap()).sum();
        let there = text.lines().filter(|l| l.len() == 100).count();
        assert!(missing > 0);
        assert_eq!(there + missing, told);
    }

    #[test]
    fn everything_is_written_when_flush_returns() {
        let (reader, writer) = UnixStream::pair().unwrap();
        let lines = Lines::open(writer, |n| format!("{n} missing\n"));
        (0..10).for_each(|n| lines.tell(numbered(n)));
        assert!(lines.flush(Duration::from_secs(10)));
        reader.set_nonblocking(true).unwrap();
        let mut buffer = [0; 4096];
        assert_eq!((&reader).read(&mut buffer).unwrap(), 1010);
    }

    #[test]
    fn a_reader_that_is_gone_is_no_trouble() {
        let (reader, writer) = UnixStream::pair().unwrap();
        drop(reader);
        let lines = Lines::open(writer, |n| format!("{n} missing\n"));
        (0..10).for_each(|n| lines.tell(numbered(n)));
        assert!(lines.flush(Duration::from_secs(10)));
    }
}
