//! The live picture on a terminal: who holds what, what the client measures, what happens, and a line to type.

use std::collections::VecDeque;
use std::io::{Stdout, Write, stdout};
use std::time::{Duration, Instant};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor};
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode, size,
};
use crossterm::{execute, queue};
use runtime::lab::fact::{Fact, Stamped, Tally};
use runtime::lab::state::{MachineState, Power, State, VipView, word};
use runtime::lab::world::Face;

use crate::words::wrap::wrap;

use super::prompt::Prompt;
use super::words::{self, Tone};

/// Pictures are drawn this often at most.
const FRAME: Duration = Duration::from_millis(100);

/// Lines of the story that are kept, and printed at the end.
const STORY: usize = 500;

/// One mark of the bar is so many milliseconds of probes.
const MARK_MS: usize = 50;

/// Later rows of a story's line begin here: behind its time.
const BEHIND_TIME: usize = 12;

/// Vips stand behind this column.
const VIPS_AT: usize = 39;

/// A picture line: pieces of text, each in its tone.
type Line = Vec<(Tone, String)>;

/// The picture.
pub struct Screen {
    out: Stdout,
    prompt: Option<Prompt>,
    story: VecDeque<(Tone, String)>,
    broken: Vec<Stamped>,
    end: Vec<(Tone, String)>,
    drawn: Option<Instant>,
}

impl Screen {
    /// Takes the terminal over, until dropped. With a prompt, keys are read too.
    pub fn new(prompt: Option<Prompt>) -> Screen {
        let mut out = stdout();
        // A terminal that cannot do this shows less; the laboratory goes on.
        let _ = execute!(out, EnterAlternateScreen, Hide);
        if prompt.is_some() {
            let _ = enable_raw_mode();
        }
        Screen { out, prompt, story: VecDeque::new(), broken: vec![], end: vec![], drawn: None }
    }

    fn keep(&mut self, ms: f64, (tone, line): (Tone, String)) {
        if self.story.len() == STORY {
            self.story.pop_front();
        }
        self.story.push_back((tone, format!("{:>8.3}  {line}", ms / 1e3)));
    }

    fn flush_broken(&mut self) {
        let broken = std::mem::take(&mut self.broken);
        let Some(first) = broken.first() else { return };
        words::broken(&broken).into_iter().for_each(|line| self.keep(first.ms, line));
    }

    fn draw(&mut self, state: &State) -> std::io::Result<()> {
        let (width, height) = size().unwrap_or((80, 24));
        let (width, height) = (usize::from(width), usize::from(height));
        let mut lines = picture(state, width, runtime::lab::protocol::now());
        let room = height.saturating_sub(lines.len() + 2);
        let rows = |(tone, line): &(Tone, String)| {
            let tone = *tone;
            wrap(line, Some(width), BEHIND_TIME).into_iter().map(move |row| vec![(tone, row)])
        };
        // No more lines can be seen than there is room for.
        let recent: Vec<Line> = self.story.iter().skip(self.story.len().saturating_sub(room)).flat_map(rows).collect();
        let skipped = recent.len().saturating_sub(room);
        lines.extend(recent.into_iter().skip(skipped));
        lines.resize(height.saturating_sub(1), vec![]);
        if let Some(prompt) = &self.prompt {
            let hint =
                if prompt.line().is_empty() { "   help · kill P · freeze P · connect 100 · quit" } else { "_" };
            lines.push(vec![(Tone::Strong, format!("> {}", prompt.line())), (Tone::Dim, hint.into())]);
        }
        queue!(self.out, BeginSynchronizedUpdate)?;
        for (row, line) in (0..).zip(lines.iter().take(height)) {
            queue!(self.out, MoveTo(0, row))?;
            put(&mut self.out, line, width)?;
            queue!(self.out, Clear(ClearType::UntilNewLine))?;
        }
        queue!(self.out, EndSynchronizedUpdate)?;
        self.out.flush()
    }
}

impl Face for Screen {
    fn tell(&mut self, stamped: &Stamped, state: &State) {
        match &stamped.fact {
            Fact::Measured { .. } => {}
            Fact::Broken { .. } => self.broken.push(stamped.clone()),
            Fact::Summary(_) => self.end = words::lines(&stamped.fact),
            fact => {
                self.flush_broken();
                words::lines(fact).into_iter().for_each(|line| self.keep(stamped.ms, line));
                self.drawn = self.drawn.filter(|_| !matches!(fact, Fact::Command { .. }));
            }
        }
        self.tick(state);
    }

    fn tick(&mut self, state: &State) {
        if self.drawn.is_some_and(|drawn| drawn.elapsed() < FRAME) {
            return;
        }
        self.flush_broken();
        self.drawn = Some(Instant::now());
        let _ = self.draw(state);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.prompt.is_some() {
            let _ = disable_raw_mode();
        }
        let _ = execute!(self.out, LeaveAlternateScreen, Show);
        let blank = (Tone::Plain, String::new());
        let story = self.story.iter().chain(std::iter::once(&blank)).chain(&self.end);
        for line in story {
            let _ = put(&mut self.out, std::slice::from_ref(line), usize::MAX);
            let _ = queue!(self.out, Print("\n"));
        }
        let _ = self.out.flush();
    }
}

/// Everything above the story.
fn picture(state: &State, width: usize, now: u64) -> Vec<Line> {
    let seconds = now.saturating_sub(state.began) as f64 / 1e9;
    let mut lines = vec![
        vec![(Tone::Strong, format!("{} in the laboratory", state.cluster)), (Tone::Dim, format!("   {seconds:.1} s"))],
        vec![],
    ];
    lines.extend(state.machines.iter().flat_map(|machine| rows(machine, state, width)));
    lines.push(vec![]);
    lines.extend(state.vips.iter().flat_map(|vip| measured(vip, state, width)));
    lines.extend(connections(state));
    lines.push(vec![]);
    lines
}

fn rows(machine: &MachineState, state: &State, width: usize) -> Vec<Line> {
    let (mark, tone, power) = match (machine.power, machine.cut) {
        (Power::Off, _) => ("✗", Tone::Bad, "off"),
        (Power::Frozen, _) => ("❄", Tone::Bad, "frozen"),
        (Power::On, true) => ("⚡", Tone::Bad, "cut off"),
        (Power::On, false) if machine.is_peer && !machine.runs => ("○", Tone::Bad, "no hactl"),
        (Power::On, false) => ("●", Tone::Good, "on"),
    };
    let mut line = vec![
        (tone, format!(" {mark} ")),
        (Tone::Strong, format!("{:<10} ", machine.name)),
        (Tone::Dim, format!("{:<15} ", machine.address)),
    ];
    line.push((tone, format!("{power:<9}")));
    let mut beside: Line = vec![];
    for vip in &state.vips {
        let Some((vip_state, priority)) = machine.vips.get(&vip.name) else { continue };
        let text = format!(" {} {} {priority} ", vip.name, word(*vip_state));
        let tone = match word(*vip_state) {
            "MASTER" => Tone::Good,
            "FAULT" => Tone::Bad,
            _ => Tone::Plain,
        };
        beside.push((tone, text));
    }
    if !machine.failing.is_empty() {
        beside.push((Tone::Bad, format!(" failing: {}", machine.failing.join(", "))));
    }
    let mut rows = vec![];
    let mut column = VIPS_AT;
    for piece in beside {
        let long = piece.1.chars().count();
        if column > VIPS_AT && column + long > width {
            rows.push(std::mem::replace(&mut line, vec![(Tone::Plain, " ".repeat(VIPS_AT))]));
            column = VIPS_AT;
        }
        column += long;
        line.push(piece);
    }
    rows.push(line);
    rows
}

fn measured(vip: &VipView, state: &State, width: usize) -> Vec<Line> {
    const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let room = width.saturating_sub(14).min(120);
    let shown = vip.history.iter().skip(vip.history.len().saturating_sub(room));
    let mut line = vec![(Tone::Strong, format!(" {:<10} ", vip.name))];
    for share in shown {
        let bar = BARS.get(usize::from(*share) * 8 / 100).copied().unwrap_or('█');
        match *share {
            0 => line.push((Tone::Bad, "·".into())),
            100 => line.push((Tone::Good, bar.into())),
            _ => line.push((Tone::Bad, bar.into())),
        }
    }
    let worst = vip.worst.max(state.open_gap(vip)) as f64 / 1e6;
    let since = state.disturbances.last().map_or("it began".to_owned(), |last| format!("\"{}\"", last.what));
    let answers = if state.open_gap(vip) > 0 { (Tone::Bad, "silent") } else { (Tone::Good, "answers") };
    let mut told = vec![
        (answers.0, format!("            {}", answers.1)),
        (Tone::Plain, format!(" · longest outage {worst:.0} ms since {since}")),
    ];
    let legend = format!(" · a probe each ms, {MARK_MS} to a mark");
    if told.iter().map(|(_, text)| text.chars().count()).sum::<usize>() + legend.chars().count() <= width {
        told.push((Tone::Dim, legend));
    }
    vec![line, told]
}

fn connections(state: &State) -> Option<Line> {
    let Tally { opened, alive, with_backend, lost, silent, refused } = state.tally();
    if opened + refused == 0 {
        return None;
    }
    let bad = |n: usize| if n > 0 { Tone::Bad } else { Tone::Dim };
    Some(vec![
        (Tone::Strong, format!(" {opened} connections: ")),
        (Tone::Good, format!("{alive} alive")),
        (Tone::Plain, format!(", {with_backend} ended with their backend")),
        (bad(silent), format!(", {silent} silent")),
        (bad(lost + refused), format!(", {} lost", lost + refused)),
    ])
}

/// Writes a line of at most `width` characters; what is cut off leaves a mark.
fn put(out: &mut Stdout, line: &[(Tone, String)], width: usize) -> std::io::Result<()> {
    let mut left = width;
    for (tone, text) in line {
        let whole = text.chars().filter(|c| !c.is_control());
        let fits = whole.clone().count() <= left;
        let mut text: String = whole.take(if fits { left } else { left.saturating_sub(1) }).collect();
        if !fits && left > 0 {
            text.push('…');
        }
        left -= text.chars().count();
        match tone {
            Tone::Plain => {}
            Tone::Strong => queue!(out, SetAttribute(Attribute::Bold))?,
            Tone::Good => queue!(out, SetForegroundColor(Color::Green))?,
            Tone::Bad => queue!(out, SetForegroundColor(Color::Red))?,
            Tone::Dim => queue!(out, SetAttribute(Attribute::Dim))?,
        }
        queue!(out, Print(text), SetAttribute(Attribute::Reset), ResetColor)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::vrrp::VipState;
    use runtime::lab::fact::Disturbance;
    use runtime::lab::protocol::Measured;
    use runtime::lab::state::Connection;
    use std::collections::BTreeMap;
    use std::net::IpAddr;

    /// Three machines, 1.2 seconds after the first was killed.
    fn outage() -> State {
        let vip = IpAddr::from([192, 168, 31, 50]);
        let machine = |(name, power, state): (&str, Power, Option<VipState>)| MachineState {
            name: name.into(),
            address: "192.168.31.11".into(),
            is_peer: true,
            power,
            runs: power == Power::On,
            vips: state.map(|state| ("ui".to_owned(), (state, 140))).into_iter().collect(),
            ..MachineState::default()
        };
        let machines = [
            ("pve1", Power::Off, None),
            ("pve2", Power::On, Some(VipState::Backup)),
            ("pve3", Power::On, Some(VipState::Fault)),
        ];
        let mut state = State { cluster: "proxmox-ui".into(), ..State::default() };
        state.machines = machines.map(machine).into();
        state.machines[2].failing.push("proxies".into());
        state.vips = vec![VipView { name: "ui".into(), addresses: vec![vip], ..VipView::default() }];
        for (at, answered) in [(1_000, 50), (1_050, 20), (1_100, 0), (2_200, 0)] {
            let last = 1_020_000_000.min(at * 1_000_000);
            state.measure(&Measured { at: at * 1_000_000, addresses: BTreeMap::from([(vip, (50, answered, last))]) });
        }
        state.disturbed_at = 1_000_000_000;
        state.disturbances.push(Disturbance { what: "kill pve1".into(), at: 0, vips: BTreeMap::new() });
        let to =
            |backend: &str, doomed| Connection { backend: Some(backend.into()), doomed, silent: doomed, broken: None };
        state.connections = BTreeMap::from([(0, to("pve1", true)), (1, to("pve2", false)), (2, to("pve3", false))]);
        state
    }

    fn drawn(state: &State, width: usize) -> Vec<String> {
        let lines = picture(state, width, 2_200_000_000).into_iter();
        lines.map(|line| line.into_iter().map(|(_, text)| text).collect()).collect()
    }

    #[test]
    fn the_picture_of_three_vips_fits_80_columns_and_the_number_comes_first() {
        let mut state = outage();
        state.disturbances[0].what = "kill holder of db (lb1)".into();
        for name in ["database", "web"] {
            state.vips.push(VipView { name: name.into(), ..state.vips[0].clone() });
            state.machines[1].vips.insert(name.into(), (VipState::Backup, 140));
        }
        let lines = drawn(&state, 80);
        assert!(lines.iter().all(|line| line.trim_end().chars().count() <= 80), "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("longest outage 1179 ms since \"kill holder")), "{lines:#?}");
        assert!(lines.iter().any(|line| line.trim() == "web BACKUP 140"), "{lines:#?}");
    }

    #[test]
    fn the_picture_shows_who_holds_what_and_what_the_client_sees() {
        let lines = drawn(&outage(), 100);
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("../../../../snapshots/status");
        settings.set_prepend_module_to_snapshot(false);
        settings.bind(|| insta::assert_snapshot!("lab_picture", lines.join("\n")));
    }
}
