//! The VRRP thread's turns: wait, take everything that waits in bounded portions, let due timers run.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use model::desired::Reach;
use model::units::{Cidr, InterfaceName, Moment};
use model::vrrp::{Effect, Event, Input, LinkState, Received, Router, Saved};
use tokio::sync::mpsc;

use super::hands::Hands;
use super::pace::Pace;
use super::timer::Timer;
use super::wait::Readiness;
use super::{Command, DriverError, DriverEvent, DriverSettings, DriverStatus, Heritage};
use crate::announce::ear::{Ear, Heard};
use crate::clock;
use crate::hot::Hot;
use crate::hot::sys::run_realtime;
use crate::socket::{VrrpSocket, group};
use crate::watch::tables::TableWatch;
use crate::watch::{Seen, Watch};

/// Packets taken in one turn: at some microseconds each, noise delays a due timer by less than a millisecond.
const PACKETS: usize = 128;

/// Changes of links and addresses taken in one turn: a thousand addresses that go at once are a few turns.
const CHANGES: usize = 256;

/// Announcements taken in one turn: those of a thousand addresses are a few turns.
const ANNOUNCEMENTS: usize = 256;

/// Datagrams of nf_tables events taken in one turn: a large ruleset loaded by somebody else is hundreds.
const TABLE_EVENTS: usize = 64;

/// Commands taken in one turn.
const COMMANDS_A_TURN: usize = 64;

/// Answers of effects handled for one input at most: a vip needs two (it cannot hold, so it releases), and a machine has
/// at most 255 vips on an interface. What is left is handled in the next turn.
const ANSWERS: usize = 4096;

/// How long forgetting connections may take on the way out: a million are a second, and the next start does it again.
const FORGETTING: Duration = Duration::from_secs(1);

/// Among real-time threads in the middle: above the housekeeping of the system, below the kernel's own threads.
const REALTIME_PRIORITY: i32 = 50;

/// Everything the thread owns.
pub(super) struct Driver {
    router: Router,
    hands: Hands,
    watch: Watch,
    tables: Option<TableWatch>,
    /// `None` where it cannot be had: what is handed over is then kept for the longest time that it may take.
    ear: Option<Ear>,
    timer: Timer,
    commands: mpsc::Receiver<Command>,
    interfaces: BTreeMap<InterfaceName, Told>,
    /// Where addresses were released: what stands there under a name of ours is somebody else's from then on.
    released: BTreeSet<InterfaceName>,
    unjoined: BTreeSet<u32>,
    answers: VecDeque<Input>,
    now: Moment,
    max_lateness: Duration,
    realtime: bool,
    /// More waits than one turn takes.
    busy: bool,
    pace: Pace,
    /// Packets were found in this turn.
    found: bool,
    /// Another thread goes on.
    suspended: bool,
}

/// An interface of the vips, and what the router was told of it.
#[derive(Default)]
struct Told {
    /// `None` before it was told anything.
    state: Option<LinkState>,
    foreign: BTreeSet<Cidr>,
    /// Addresses of the vips there.
    wanted: BTreeSet<Cidr>,
    /// Groups that are heard there: none where the vips reach their peers by unicast.
    groups: BTreeSet<IpAddr>,
}

impl Driver {
    /// Opens every socket and releases leftovers, in the calling thread's network namespace.
    pub fn open(
        (settings, heritage): (DriverSettings, Heritage),
        events: mpsc::Sender<DriverEvent>,
        commands: mpsc::Receiver<Command>,
    ) -> Result<Driver, DriverError> {
        let open = |what: &'static str| move |source: io::Error| DriverError::Open { what, source };
        let hot = Hot::open().map_err(|(what, source)| DriverError::Open { what, source })?;
        let socket = VrrpSocket::open().map_err(open("open a raw socket for VRRP"))?;
        let watch = Watch::open().map_err(open("watch the kernel's interfaces"))?;
        // A kernel without nf_tables has no table that anybody could touch.
        let tables = TableWatch::open(hot.table_port()).ok();
        let timer = Timer::new().map_err(open("make a timer"))?;
        let mut hands = Hands::new(hot, socket, events);
        let interfaces = interfaces(&settings);
        if let Some(saved) = &heritage.saved {
            hands.adopt(watch.machine(), saved, &settings.routers);
        }
        hands.settle(&settings.routers, settings.gated);
        let released = hands.release_leftovers(watch.machine(), &settings.routers);
        match &heritage.saved {
            None => released.map_err(DriverError::Leftovers)?,
            // Who ended for it would let everything else that it holds go unattended.
            Some(saved) => {
                if let Err(e) = released.and(hands.release_abandoned(watch.machine(), saved)) {
                    tracing::error!("{e}");
                }
            }
        }
        if let n @ 1.. = hands.hot.deleted() {
            tracing::info!("{n} addresses were released that are left over from a run that did not end cleanly");
        }
        let mut driver = Driver {
            interfaces,
            released: BTreeSet::new(),
            router: match &heritage.saved {
                Some(saved) => Router::resume(clock::now(), settings.routers, saved),
                None => Router::new(settings.routers),
            },
            hands,
            watch,
            tables,
            ear: Ear::open().ok(),
            timer,
            commands,
            unjoined: BTreeSet::new(),
            answers: VecDeque::new(),
            now: clock::now(),
            max_lateness: Duration::ZERO,
            realtime: false,
            busy: false,
            pace: Pace::default(),
            found: false,
            suspended: false,
        };
        driver.hands.set_gate(driver.now);
        // Before anything else: not even the owner of the addresses becomes master first.
        driver.feed(Some(Input::Drain(heritage.drained)));
        Ok(driver)
    }

    /// The thread itself, until it has handed over after [`Command::Stop`], or until nobody can command it any more.
    pub fn run(mut self) -> Result<(), DriverError> {
        let open = |what: &'static str| move |source: io::Error| DriverError::Open { what, source };
        self.realtime = match run_realtime(REALTIME_PRIORITY) {
            Ok(()) => true,
            Err(e) => {
                tracing::info!("VRRP runs without real-time priority ({e}): give CAP_SYS_NICE to be exact under load");
                false
            }
        };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(open("start the runtime"))?;
        let fds = {
            let _inside = runtime.enter();
            Readiness::of(self.fds()).map_err(open("wait for sockets"))?
        };
        self.now = clock::now();
        self.listen();
        self.look_at_links();
        while self.turn().is_continue() && !self.suspended {
            let _ = self.timer.arm(self.router.deadline());
            match std::mem::take(&mut self.busy) || !self.answers.is_empty() {
                true => continue,
                false => {
                    self.rest();
                    if let Some(command) = runtime.block_on(fds.wait(&mut self.commands)) {
                        self.obey(command);
                    }
                }
            }
        }
        if self.suspended {
            return Ok(());
        }
        // Nothing else is due any more.
        self.hands.forget_stale(self.now);
        self.hands.hot.finish(FORGETTING);
        self.hands.tell(DriverEvent::Stopped);
        Ok(())
    }

    fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let own = [self.timer.as_fd(), self.watch.as_fd()].into_iter().chain(self.hands.socket.fds());
        own.chain(self.ear.iter().flat_map(Ear::fds)).chain(self.tables.as_ref().map(AsFd::as_fd))
    }

    /// Lets packets gather that come one right after the other.
    fn rest(&mut self) {
        if std::mem::take(&mut self.found)
            && let Some(rest) = self.pace.rest(self.now, self.router.deadline())
        {
            std::thread::sleep(rest);
        }
    }

    /// Everything that waits, in portions; then the timers. Changes come first, since packets and timers are judged by
    /// them; packets before timers, since one that slept must listen before it speaks.
    fn turn(&mut self) -> ControlFlow<()> {
        self.now = clock::now();
        if let Some(at) = self.timer.fired(self.now) {
            self.max_lateness = self.max_lateness.max(self.now.since(at));
        }
        self.feed(None);
        self.changes();
        self.packets();
        self.announcements();
        self.table_events();
        for _ in 0..COMMANDS_A_TURN {
            match self.commands.try_recv() {
                Ok(command) => self.obey(command),
                Err(mpsc::error::TryRecvError::Empty) => break,
                // Nobody is left to command: nobody looks after what is held, so it is not handed over slowly.
                Err(mpsc::error::TryRecvError::Disconnected) => {
                    self.obey(Command::Stop);
                    self.obey(Command::Stop);
                    break;
                }
            }
        }
        if self.suspended {
            return ControlFlow::Break(());
        }
        if self.router.deadline().is_some_and(|at| at <= self.now) {
            self.feed(Some(Input::Tick));
        }
        if self.router.is_over() {
            return ControlFlow::Break(());
        }
        for interface in std::mem::take(&mut self.released) {
            self.look_at(&interface);
        }
        self.hands.forget_stale(self.now);
        ControlFlow::Continue(())
    }

    /// Hands one input to the router and carries out what it wants; answers follow once all effects of it are done.
    fn feed(&mut self, input: Option<Input>) {
        self.answers.extend(input);
        for _ in 0..ANSWERS {
            let Some(input) = self.answers.pop_front() else { return };
            for effect in self.router.handle(self.now, input) {
                if let Effect::Release { interface, virtual_mac, .. } = &effect {
                    self.released.extend(virtual_mac.iter().chain([interface]).cloned());
                }
                if let Some(answer) = self.hands.perform(self.now, self.watch.machine(), effect) {
                    // Changing the kernel took time.
                    self.now = clock::now();
                    self.answers.push_back(answer);
                }
            }
        }
    }

    fn changes(&mut self) {
        for _ in 0..CHANGES {
            match self.watch.step() {
                Ok(Some(seen)) => self.see(seen),
                Ok(None) => return,
                // Tried again in the next turn, which an advert brings at the latest.
                Err(_) => return,
            }
        }
        self.busy = true;
    }

    fn see(&mut self, seen: Seen) {
        match seen {
            Seen::Link(interface) if self.interfaces.contains_key(&interface) => self.look_at(&interface),
            Seen::Link(_) => {}
            Seen::RouteLost { by } if by == self.hands.hot.routes.port() => {}
            Seen::RouteLost { .. } => self.hands.lead_again(self.now, self.watch.machine()),
            Seen::Removed { interface, index, cidr, by } => {
                let ours = self.hands.hot.is_own_deletion(by, index, cidr);
                if !ours && self.hands.holder(&interface, cidr).is_some() {
                    self.feed(Some(Input::AddressLost { interface, cidr }));
                }
            }
            Seen::Added { interface, cidr, mark } => {
                if mark != model::observed::OUR_MARK {
                    self.hands.mark_again(self.now, self.watch.machine(), (interface, cidr));
                }
            }
        }
    }

    fn look_at_links(&mut self) {
        for interface in self.interfaces.keys().cloned().collect::<Vec<_>>() {
            self.look_at(&interface);
        }
    }

    /// Tells the router of an interface where it is not what it was.
    fn look_at(&mut self, interface: &InterfaceName) {
        self.join();
        let Some(told) = self.interfaces.get_mut(interface) else { return };
        let state = self.watch.machine().state(interface);
        let mut foreign = self.watch.machine().foreign(interface, &told.wanted);
        // One that is held is made ours again.
        foreign.retain(|cidr| self.hands.holder(interface, *cidr).is_none());
        let news = (told.foreign != foreign, told.state.as_ref() != Some(&state));
        (told.foreign, told.state) = (foreign.clone(), Some(state.clone()));
        if news.0 {
            self.feed(Some(Input::Foreign { interface: interface.clone(), addresses: foreign }));
        }
        if news.1 {
            self.feed(Some(Input::Link { interface: interface.clone(), state }));
        }
    }

    /// Hears the group on every interface that is there; one that cannot be joined is told of once.
    fn join(&mut self) {
        let machine = self.watch.machine();
        let groups = self.interfaces.iter().filter_map(|(name, told)| Some((machine.port(name)?.index, &told.groups)));
        let groups: Vec<_> = groups.flat_map(|(index, groups)| groups.iter().map(move |g| (index, *g))).collect();
        let failed = self.hands.socket.join(groups);
        self.unjoined.retain(|index| failed.iter().any(|(i, _)| i == index));
        for (index, e) in failed {
            if let (true, Some(name)) = (self.unjoined.insert(index), machine.name(index)) {
                let what = format!("hearing VRRP's group on {name}: {e}");
                let event = Event::Warning { vip: name.to_string(), what };
                self.hands.tell(DriverEvent::Router { at: self.now, event });
            }
        }
    }

    fn packets(&mut self) {
        let mut errors = 0;
        for _ in 0..PACKETS {
            match self.hands.socket.receive() {
                Ok(Some(packet)) => {
                    self.found = true;
                    let Some(interface) = self.watch.machine().name(packet.index).cloned() else { continue };
                    // The socket hears unicast on every interface.
                    if self.interfaces.contains_key(&interface) {
                        self.feed(Some(Input::Packet(Received {
                            interface,
                            source: packet.source,
                            destination: packet.destination,
                            ttl: packet.ttl,
                            message: packet.message,
                        })));
                    }
                }
                Ok(None) => return,
                // An error of one packet: the next may be good.
                Err(_) => errors += 1,
            }
        }
        // A socket that is broken must not keep a thread at work that nobody of lower priority can interrupt.
        self.busy |= errors < PACKETS;
    }

    /// What others announce; after their adverts, which say who they are.
    fn announcements(&mut self) {
        let mut errors = 0;
        for _ in 0..ANNOUNCEMENTS {
            match self.ear.as_mut().map(Ear::hear) {
                Some(Ok(Some(Heard { index, address, .. }))) => {
                    if let Some(interface) = self.watch.machine().name(index).cloned() {
                        self.feed(Some(Input::Announced { interface, address }));
                    }
                }
                Some(Ok(None)) | None => return,
                // An error of one message: the next may be good.
                Some(Err(_)) => errors += 1,
            }
        }
        self.busy |= errors < ANNOUNCEMENTS;
    }

    /// Hears announcements of the vips' addresses.
    fn listen(&mut self) {
        let wanted = self.interfaces.values().flat_map(|told| &told.wanted).map(|cidr| cidr.address()).collect();
        // Where the filter cannot be set, handing over takes its longest time, and that is all.
        let _ = self.ear.as_mut().map(|ear| ear.listen(wanted));
    }

    fn table_events(&mut self) {
        let Some(tables) = &mut self.tables else { return };
        let Ok((touched, more)) = tables.read(TABLE_EVENTS) else { return };
        self.busy |= more;
        if let Some(touched) = touched {
            let (removed, by) = (touched.removed, touched.by);
            self.hands.distrust_connections();
            self.hands.tell(DriverEvent::TableTouched { at: self.now, removed, by });
        }
    }

    fn obey(&mut self, command: Command) {
        self.now = self.now.max(clock::now());
        match command {
            Command::Reload(settings) => self.reload(settings),
            Command::Check { name, up } => self.feed(Some(Input::Check { name, up })),
            Command::Weight { name, weight } => self.feed(Some(Input::Weight { name, weight })),
            Command::Slots { .. } => self.hands.slots(self.now, command),
            Command::TableLoaded => self.hands.set_gate(self.now),
            // Whoever asked may have gone.
            Command::Query(answer) => drop(answer.send(self.status())),
            Command::Drain(vips) => self.feed(Some(Input::Drain(vips))),
            Command::StepDown(vip) => self.feed(Some(Input::StepDown { vip })),
            Command::Suspend(answer) => {
                // Whoever asked may have gone.
                let saved = (!self.router.is_handing_over()).then(|| self.router.save(self.now));
                self.suspended = saved.is_some() && answer.send(saved).is_ok();
            }
            Command::Stop => self.feed(Some(Input::Stop)),
        }
    }

    fn reload(&mut self, settings: DriverSettings) {
        self.hands.widen(&settings.routers, &settings.gated);
        let mut told = std::mem::replace(&mut self.interfaces, interfaces(&settings));
        for (name, new) in &mut self.interfaces {
            if let Some(old) = told.remove(name) {
                (new.state, new.foreign) = (old.state, old.foreign);
                // Until the reload is done, what is no longer wanted is still looked at.
                new.wanted.extend(old.wanted);
            }
        }
        self.look_at_links();
        self.feed(Some(Input::Reload(settings.routers.clone())));
        let mut wanted = interfaces(&settings);
        for (name, told) in &mut self.interfaces {
            told.wanted = wanted.remove(name).unwrap_or_default().wanted;
        }
        self.hands.settle(&settings.routers, settings.gated);
        self.hands.set_gate(self.now);
        self.listen();
    }

    fn status(&self) -> DriverStatus {
        DriverStatus {
            now: self.now,
            vips: self.router.status(),
            max_lateness: self.max_lateness,
            realtime: self.realtime,
            events_dropped: self.hands.dropped,
            packets_overrun: self.hands.socket.overrun(),
            strangers: self.router.strangers(),
        }
    }
}

/// See [`super::abandon`].
pub(super) fn abandon(saved: &Saved) -> Result<(), DriverError> {
    let open = |what: &'static str| move |source: io::Error| DriverError::Open { what, source };
    let hot = Hot::open().map_err(|(what, source)| DriverError::Open { what, source })?;
    let socket = VrrpSocket::open().map_err(open("open a raw socket for VRRP"))?;
    let watch = Watch::open().map_err(open("watch the kernel's interfaces"))?;
    let (events, _nobody) = mpsc::channel(1);
    let mut hands = Hands::new(hot, socket, events);
    hands.release_abandoned(watch.machine(), saved).map_err(DriverError::Leftovers)
}

/// Interfaces of the vips, of which nothing was told yet.
fn interfaces(settings: &DriverSettings) -> BTreeMap<InterfaceName, Told> {
    let mut interfaces: BTreeMap<InterfaceName, Told> = BTreeMap::new();
    for s in &settings.routers {
        let told = interfaces.entry(s.interface.clone()).or_default();
        told.wanted.extend(&s.addresses);
        told.groups.extend((s.reach == Reach::Multicast).then(|| group(s.family)));
        // That of a virtual MAC is up only while this machine is master: the group is heard on the interface below.
        if let Some(name) = &s.virtual_mac {
            interfaces.entry(name.clone()).or_default().wanted.extend(&s.addresses);
        }
    }
    interfaces
}
