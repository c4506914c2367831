//! What becomes of a frame: where it goes, whether it arrives, and when. No clock, no I/O.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
    time::Duration,
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// IEEE 802.3, 3.2: destination, source, type.
const HEADER: usize = 14;
/// Frames on their way, at most: more are lost, as in any switch.
const ON_THEIR_WAY_MAX: usize = 1 << 16;
/// MACs that are remembered, at most: frames to others go everywhere.
const MACS_MAX: usize = 1 << 12;

type Mac = [u8; 6];

/// A port of a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortId(pub(super) usize);

/// What happens to each frame on a port's line, in either direction: between two machines there are two lines.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Line {
    /// The share of frames that are lost, from 0 to 1.
    pub loss: f64,
    /// The share of frames that arrive twice, from 0 to 1.
    pub doubled: f64,
    /// How long a frame is on its way.
    pub latency: Duration,
    /// By how much that is more or less; frames overtake each other by it.
    pub jitter: Duration,
}

/// What became of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// They came from a machine.
    pub taken: u64,
    /// They went to a machine: one that goes to all counts for each.
    pub delivered: u64,
    /// A line lost them.
    pub lost: u64,
    /// A line doubled them.
    pub doubled: u64,
    /// They met a cut.
    pub cut: u64,
    /// They were too many at a time.
    pub dropped: u64,
}

/// Ports, who is behind them, and the frames between them.
#[derive(Debug)]
pub struct Fabric {
    seed: u64,
    line: Line,
    ports: Vec<PortState>,
    macs: BTreeMap<Mac, PortId>,
    on_their_way: BinaryHeap<Reverse<OnItsWay>>,
    /// How many there were.
    number: u64,
    counts: Counts,
}

#[derive(Debug)]
struct PortState {
    line: Line,
    is_away: bool,
    /// The chances of what comes from the machine, and of what goes to it.
    chances: [StdRng; 2],
}

/// Ordered by when it arrives, and of two by which was there first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct OnItsWay {
    due: Duration,
    number: u64,
    from: PortId,
    to: PortId,
    frame: Arc<[u8]>,
}

impl Fabric {
    /// One without ports.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            line: Line::default(),
            ports: Vec::new(),
            macs: BTreeMap::new(),
            on_their_way: BinaryHeap::new(),
            number: 0,
            counts: Counts::default(),
        }
    }

    /// Another port, whose number is how many there were.
    pub fn add(&mut self) -> PortId {
        let id = PortId(self.ports.len());
        let chances = [0, 1].map(|way| {
            let mut seed = [0; 32];
            let number = id.0 as u64 * 2 + way;
            seed[..8].copy_from_slice(&self.seed.to_le_bytes());
            seed[8..16].copy_from_slice(&number.to_le_bytes());
            StdRng::from_seed(seed)
        });
        self.ports.push(PortState { line: self.line, is_away: false, chances });
        id
    }

    /// What a port's line is like from now on.
    pub fn set_line(&mut self, port: PortId, line: Line) {
        self.ports[port.0].line = line;
    }

    /// The same for all there are and all that come.
    pub fn set_lines(&mut self, line: Line) {
        self.line = line;
        self.ports.iter_mut().for_each(|port| port.line = line);
    }

    /// Cuts these off from all others, what is on its way too.
    pub fn cut(&mut self, away: &[PortId]) {
        for (number, port) in self.ports.iter_mut().enumerate() {
            port.is_away = away.contains(&PortId(number));
        }
    }

    /// What became of all frames so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// A machine sends a frame.
    pub fn take(&mut self, from: PortId, frame: &[u8], now: Duration) {
        let Some(header) = frame.first_chunk::<HEADER>() else { return };
        self.counts.taken += 1;
        let [to, source] = [&header[..6], &header[6..12]].map(|mac| Mac::try_from(mac).ok());
        let arrivals = self.cross(from, 0, now);
        if arrivals.is_empty() {
            return;
        }
        source.into_iter().for_each(|mac| self.learn(mac, from));
        let known = to.and_then(|mac| self.macs.get(&mac)).copied();
        let all = (0..self.ports.len()).map(PortId);
        let others = all.filter(|to| *to != from && known.is_none_or(|known| known == *to));
        let frame = Arc::from(frame);
        for to in others.collect::<Vec<_>>() {
            for arrival in &arrivals {
                for due in self.cross(to, 1, *arrival) {
                    self.send(OnItsWay { due, number: 0, from, to, frame: Arc::clone(&frame) });
                }
            }
        }
    }

    /// When the next frame arrives.
    pub fn next(&self) -> Option<Duration> {
        self.on_their_way.peek().map(|Reverse(first)| first.due)
    }

    /// A frame that has arrived by now, and where.
    pub fn due(&mut self, now: Duration) -> Option<(PortId, Arc<[u8]>)> {
        while self.next()? <= now {
            let Reverse(OnItsWay { from, to, frame, .. }) = self.on_their_way.pop()?;
            if self.ports[from.0].is_away == self.ports[to.0].is_away {
                self.counts.delivered += 1;
                return Some((to, frame));
            }
            self.counts.cut += 1;
        }
        None
    }

    /// Groups and broadcast are nobody's addresses.
    fn learn(&mut self, mac: Mac, port: PortId) {
        let is_one = mac[0] & 1 == 0;
        if is_one && (self.macs.len() < MACS_MAX || self.macs.contains_key(&mac)) {
            self.macs.insert(mac, port);
        }
    }

    /// When a frame that is sent now is at the other end of a line: never, once, or twice. As many numbers are drawn for each
    /// frame, so that those that follow do not hang on what became of this one.
    fn cross(&mut self, port: PortId, way: usize, now: Duration) -> Vec<Duration> {
        let PortState { line, chances, .. } = &mut self.ports[port.0];
        let chances = &mut chances[way];
        let [loss, doubled, first, second] = [(); 4].map(|()| chances.r#gen::<f64>());
        if loss < line.loss {
            self.counts.lost += 1;
            return Vec::new();
        }
        let earliest = now + line.latency.saturating_sub(line.jitter);
        let spread = line.jitter.min(line.latency) + line.jitter;
        let mut arrivals = vec![earliest + spread.mul_f64(first)];
        if doubled < line.doubled {
            self.counts.doubled += 1;
            arrivals.push(earliest + spread.mul_f64(second));
        }
        arrivals
    }

    fn send(&mut self, frame: OnItsWay) {
        if self.on_their_way.len() >= ON_THEIR_WAY_MAX {
            self.counts.dropped += 1;
            return;
        }
        self.number += 1;
        self.on_their_way.push(Reverse(OnItsWay { number: self.number, ..frame }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROADCAST: Mac = [0xff; 6];

    fn mac(number: u8) -> Mac {
        [2, 0, 0, 0, 0, number]
    }

    fn frame(to: Mac, from: Mac, text: &str) -> Vec<u8> {
        [&to[..], &from, &[0x88, 0xb5], text.as_bytes()].concat()
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn fabric(ports: usize, line: Line) -> Fabric {
        let mut fabric = Fabric::new(1);
        let _ports: Vec<_> = (0..ports).map(|_| fabric.add()).collect();
        fabric.set_lines(line);
        fabric
    }

    /// The ports at which something has arrived.
    fn arrived(fabric: &mut Fabric, now: Duration) -> Vec<usize> {
        std::iter::from_fn(|| fabric.due(now)).map(|(to, _)| to.0).collect()
    }

    #[test]
    fn frames_go_where_their_receiver_was_heard_and_else_everywhere() {
        let mut fabric = fabric(3, Line::default());
        let group = [1, 0, 0x5e, 0, 0, 1];
        for (from, to, source, want) in [
            (0, mac(2), mac(1), &[1, 2][..]), // nobody knows 2 yet
            (1, mac(1), mac(2), &[0]),
            (0, mac(2), mac(1), &[1]),
            (0, BROADCAST, mac(1), &[1, 2]),
            (0, group, mac(1), &[1, 2]),
            (2, mac(1), mac(2), &[0]), // 2 has moved
            (0, mac(2), mac(1), &[2]),
            (2, mac(2), mac(3), &[]),        // it is at the same port
            (0, mac(9), BROADCAST, &[1, 2]), // no sender is a group
            (0, BROADCAST, mac(1), &[1, 2]),
        ] {
            fabric.take(PortId(from), &frame(to, source, "x"), ms(0));
            assert_eq!(arrived(&mut fabric, ms(0)), want, "{from} {to:?} {source:?}");
        }
        fabric.take(PortId(0), &[0; HEADER - 1], ms(0));
        assert_eq!((arrived(&mut fabric, ms(0)), fabric.counts().taken), (vec![], 10));
    }

    #[test]
    fn a_frame_arrives_when_it_has_crossed_both_lines() {
        let mut fabric = fabric(2, Line { latency: ms(5), jitter: ms(2), ..Line::default() });
        let mut last = ms(0);
        for _ in 0..1000 {
            fabric.take(PortId(0), &frame(BROADCAST, mac(1), "x"), ms(100));
            let due = fabric.next().unwrap();
            assert!((ms(106)..=ms(114)).contains(&due) && due != last, "{due:?}");
            assert_eq!(arrived(&mut fabric, due - ms(1)), [0; 0]);
            assert_eq!(arrived(&mut fabric, due), [1]);
            last = due;
        }
    }

    #[test]
    fn so_many_are_lost_and_doubled_as_was_said() {
        let mut fabric = fabric(2, Line { loss: 0.1, doubled: 0.2, ..Line::default() });
        for _ in 0..10_000 {
            fabric.take(PortId(0), &frame(BROADCAST, mac(1), "x"), ms(0));
        }
        // Of a seed, and so the same each time: 10,000 × 0.9 × 1.2 × 0.9 × 1.2 is 11,664.
        let delivered = arrived(&mut fabric, ms(0)).len();
        assert!((11_300..12_000).contains(&delivered), "{delivered}");
        let counts = fabric.counts();
        assert_eq!(counts.delivered, 10_000 + counts.doubled - counts.lost);
        assert_eq!((counts.cut, counts.dropped), (0, 0));
    }

    #[test]
    fn the_fate_of_a_frame_is_the_seed_s_whoever_else_speaks() {
        let line = Line { loss: 0.3, doubled: 0.3, latency: ms(9), jitter: ms(9) };
        let fates = |seed, others: usize| {
            let mut fabric = Fabric::new(seed);
            let _ports: Vec<_> = (0..3).map(|_| fabric.add()).collect();
            fabric.set_lines(line);
            // Their places are known.
            fabric.macs = [(mac(1), PortId(0)), (mac(2), PortId(1)), (mac(3), PortId(2))].into();
            let mut fates = Vec::new();
            for _ in 0..50 {
                (0..others).for_each(|_| {
                    fabric.take(PortId(2), &frame(mac(1), mac(3), "x"), ms(0));
                });
                fabric.take(PortId(0), &frame(mac(2), mac(1), "x"), ms(0));
            }
            while let Some(due) = fabric.next() {
                let (to, _) = fabric.due(due).unwrap();
                if to == PortId(1) {
                    fates.push(due);
                }
            }
            fates
        };
        assert_eq!(fates(7, 0), fates(7, 3));
        assert_ne!(fates(7, 0), fates(8, 0));
    }

    #[test]
    fn who_is_cut_off_hears_nothing_until_it_is_healed() {
        let mut fabric = fabric(4, Line { latency: ms(5), ..Line::default() });
        let broadcast = frame(BROADCAST, mac(1), "x");
        fabric.take(PortId(0), &broadcast, ms(0)); // it is on its way when the cut comes
        fabric.cut(&[PortId(0), PortId(1)]);
        fabric.take(PortId(2), &broadcast, ms(0));
        assert_eq!(arrived(&mut fabric, ms(10)), [1, 3]);
        assert_eq!(fabric.counts().cut, 4);
        fabric.cut(&[]);
        fabric.take(PortId(2), &broadcast, ms(10));
        assert_eq!(arrived(&mut fabric, ms(20)), [0, 1, 3]);
    }

    #[test]
    fn what_others_make_grow_is_bounded() {
        let mut fabric = fabric(2, Line { latency: ms(5), ..Line::default() });
        for number in 0..ON_THEIR_WAY_MAX as u64 + 9 {
            let [.., a, b, c, _] = (number << 8).to_be_bytes();
            fabric.take(PortId(0), &frame(BROADCAST, [2, 0, 0, a, b, c], "x"), ms(0));
        }
        assert_eq!((fabric.counts().dropped, fabric.macs.len()), (9, MACS_MAX));
    }
}
