//! A cluster of real machines: QEMU, one image, one switch, no network of the host's and nobody at a keyboard.
//!
//! Three machines form in the test command, told who they are in three ways, with a fourth among them that has a wrong key.
//! `COREMAX_FULL=1` adds cuts of power, a copied disk, a machine that takes a dead one's place, clocks that are decades off,
//! and a cluster of eight.

mod bench;
mod hard;
mod image;
mod node;
mod operator;
mod site;

use std::{
    cell::{RefCell, RefMut},
    path::PathBuf,
    process::ExitCode,
};

use coremax_node_api::{cluster_status::Wait, join::Phase};
use coremax_tests::{Outcome, Sentence, expect, folder, left, tell};

use node::{Medium, Node};
use operator::{Operator, Preset};
use site::Site;

const STORY: &[Sentence<Stage>] = &[
    ("an operator makes a cluster, signs its roster and makes its media", operated),
    ("three machines of one image, each told in another way, form it by themselves", formed),
    ("a fourth one with a wrong key learns no name and waits", stranger),
    ("all of them say the same of it", agree),
    ("Ansible reaches every node from the seed, by certificates alone", pinged),
    ("the consoles show one page of 80 by 25, and Enter asks who logs in", consoles),
    ("no machine has told a key, in files, its journal or on its console", secrets),
    ("a copy of a disk does nothing in another machine", hard::copied_disk),
    ("a machine takes a dead one's place, and the dead one is refused", hard::replaced),
    ("the seed loses its power while it gives out names", hard::cut_seed),
    ("a worker loses its power in every phase", hard::cut_worker),
    (
        "a worker that is not there holds nobody up, and one that is approved later is taken in",
        hard::late,
    ),
    ("clocks are in 1999 and 2040 before, and together after", hard::clocks),
    ("three controllers and five workers form", hard::eight),
];

/// Where the story plays.
pub(crate) struct Stage {
    /// Its folder.
    pub(crate) work: PathBuf,
    /// The cluster of the first part.
    site: RefCell<Option<Site>>,
}

fn main() -> ExitCode {
    let work = folder("cluster");
    let stage = Stage { work, site: RefCell::default() };
    if std::env::args().any(|argument| argument == "--bench") {
        return match bench::run(&stage) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("{why}");
                ExitCode::FAILURE
            }
        };
    }
    let result = tell(STORY, &stage);
    stage.site.take();
    result
}

impl Stage {
    fn site(&self) -> Result<RefMut<'_, Site>, String> {
        left(&self.site, "cluster")
    }
}

fn operated(stage: &Stage) -> Outcome {
    let image = image::built(&stage.work)?;
    let operator = Operator::new(&stage.work.join("three"), Preset::OpenStack)?;
    *stage.site.borrow_mut() = Some(Site::new(operator, &image)?);
    Ok(())
}

fn formed(stage: &Stage) -> Outcome {
    let mut site = stage.site()?;
    site.start(&Node::new(1, Medium::Volume))?;
    site.start(&Node::new(2, Medium::FwCfg))?;
    site.start(&Node::new(3, Medium::ConfigDrive))?;
    site.start(&Node::new(4, Medium::WrongKey))?;
    site.are_formed(&[1, 2, 3])
}

fn stranger(stage: &Stage) -> Outcome {
    let mut site = stage.site()?;
    let status = site.status(4)?;
    let knows = status.phase > Phase::Networked || status.name.is_some() || status.epoch > 0;
    expect(!knows && status.waits == Wait::Seed, || format!("it acted: {status:?}"))?;
    // It asks at all addresses that it heard, by turns.
    site.until("it is told bad-key", &[4], |all| {
        all[0].hint.as_ref().is_some_and(|hint| hint.contains("bad-key"))
    })?;
    // Not in what is mounted below, which is the image.
    let names = "find /var/lib/coremax /etc /run -xdev -type f -exec grep -ls control-1 {} +; true";
    let known = site.guest(2)?.runs(names)?;
    expect(known.contains("/etc/hosts"), || "a node's names are not found either".into())?;
    let found = site.guest(4)?.run(names)?;
    expect(found.said.is_empty(), || format!("it has learnt names: {}", found.said))
}

fn agree(stage: &Stage) -> Outcome {
    stage.site()?.agree(&[1, 2, 3])
}

fn pinged(stage: &Stage) -> Outcome {
    let mut site = stage.site()?;
    let said = site.guest(1)?.runs(&format!("{ANSIBLE} -i {INVENTORY} -m ping all"))?;
    let pongs = said.matches("\"ping\": \"pong\"").count();
    expect(pongs == 3, || format!("{pongs} nodes answered: {said}"))?;
    // Not by keys that somebody put there.
    let keys = site.guest(2)?.run("cat /root/.ssh/authorized_keys")?;
    expect(!keys.ok, || format!("there are keys: {}", keys.said))?;
    // What the deployment did by itself, once.
    let journal = site.guest(1)?.runs("cat /var/lib/coremax/deploy/journal*")?;
    expect(journal.contains("ping"), || format!("the deployment's journal: {journal}"))
}

/// Ansible wants to know whose home it is in, and UTF-8.
const ANSIBLE: &str = "HOME=/root LC_ALL=C.UTF-8 ansible";
/// The seed's inventory.
const INVENTORY: &str = "/var/lib/coremax/inventory/cluster.yml";

fn consoles(stage: &Stage) -> Outcome {
    let mut site = stage.site()?;
    for number in 1..=3 {
        let page = site.guest(number)?.runs("fold -w 80 /dev/vcs1")?;
        let name = format!("  coremax   control-{number}");
        let lines: Vec<_> = page.lines().map(str::trim_end).collect();
        let is_whole = lines.first() == Some(&name.as_str())
            && lines.iter().any(|line| line.ends_with("formed (10 of 10)"))
            && lines.len() <= 25
            && lines.iter().any(|line| line.trim_start() == "Enter: log in");
        expect(is_whole, || format!("tty1 of control-{number} shows:\n{page}"))?;
        expect(site.guest(number)?.console().contains(&name), || "ttyS0 shows no page".into())?;
    }
    let guest = site.guest(1)?;
    guest.runs(ENTER)?;
    guest
        .runs("until fold -w 80 /dev/vcs1 | grep -q 'control-1 login:'; do sleep 1; done")
        .map(drop)
}

fn secrets(stage: &Stage) -> Outcome {
    let mut site = stage.site()?;
    let told = std::fs::read_to_string(site.operator.file("cluster.identity.json"));
    let told = told.map_err(|error| error.to_string())?;
    for number in 1..=3 {
        let found = site.guest(number)?.runs("/usr/lib/coremax-tests/keys")?;
        let want = match number {
            1 => "/var/lib/coremax/authority/deploy\n/var/lib/coremax/identity.json",
            _ => "/var/lib/coremax/identity.json",
        };
        expect(found == want, || format!("machine {number} has keys in {found}"))?;
        let console = site.guest(number)?.console();
        let key = told.split('"').find(|word| word.len() == 64).ok_or("no key in the identity")?;
        expect(!console.contains(key), || format!("the console of {number} tells the key"))?;
        let own = site.guest(number)?.runs("cat /var/lib/coremax/identity.json")?;
        expect(own.contains(key) == (number < 3), || {
            format!("machine {number}, the third has a key of its own: {own}")
        })?;
    }
    Ok(())
}

/// As if somebody pressed Enter at the machine's keyboard: ioctl_tty(2), TIOCSTI.
const ENTER: &str = r#"python3 -c 'import fcntl, termios; fcntl.ioctl(open("/dev/tty1", "w"), termios.TIOCSTI, b"\n")'"#;
