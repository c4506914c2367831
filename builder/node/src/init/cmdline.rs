//! The kernel's command line: what early boot is asked to do.
//!
//! What it is told of its cluster is [`coremax_node_api::identity::command_line`]'s, which knows the words here as others'.

use std::time::Duration;

use coremax_node_api::{kernel_line::words, verity::RootHash};

use crate::gpt::Guid;

/// How long the root is waited for when nobody says otherwise: RAID controllers and USB hubs take
/// half a minute at their worst.
const WAIT: Duration = Duration::from_secs(90);
const INIT: &str = "/sbin/init";

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// `coremax.root=`: the root hash; nothing where it is missing or no hash.
    pub(crate) root: Option<RootHash>,
    /// `coremax.slot=`: the slot the boot loader chose, which the hash says better.
    pub(crate) slot: Option<String>,
    /// `coremax.data=`: where the machine's state is.
    pub(crate) data: Data,
    /// `coremax.wait=`: seconds until the root counts as missing.
    pub(crate) wait: Duration,
    /// `coremax.debug`: a shell when something fails.
    pub(crate) debug: bool,
    /// `debug`, `loglevel=`, `ignore_loglevel`: the consoles are somebody's already.
    pub(crate) loud: bool,
    /// `init=`: what is started in the root.
    pub(crate) init: String,
    /// `panic=`: what follows a failure.
    pub(crate) failure: Failure,
    modules: Vec<(String, String)>,
    blacklist: Vec<String>,
}

/// Where the machine keeps its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Data {
    /// On the partition named `data` of the root's disk.
    WithRoot,
    /// On the partition with this PARTUUID, on whichever disk.
    Partition(Guid),
    /// Nowhere: it is gone after this boot.
    Nowhere,
}

/// What follows when booting fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Waiting for a person or a later device.
    Waits,
    /// A new start after so long, which the boot loader counts.
    Restarts(Duration),
}

impl CommandLine {
    /// Reads the text of /proc/cmdline. The last of several values counts. Never panics.
    pub(crate) fn parse(text: &str) -> Self {
        let mut line = Self::default();
        for word in words(text) {
            let (key, value) = word.split_once('=').unwrap_or((&word, ""));
            line.set(key, value);
        }
        line
    }

    fn set(&mut self, key: &str, value: &str) {
        match key {
            "coremax.root" => self.root = value.parse().ok(),
            "coremax.slot" => self.slot = Some(value.to_owned()).filter(|slot| !slot.is_empty()),
            "coremax.data" => self.data = data(value),
            "coremax.wait" => self.wait = value.parse().map_or(WAIT, Duration::from_secs),
            "coremax.debug" => self.debug = value != "0",
            "debug" | "ignore_loglevel" | "loglevel" => self.loud = true,
            "init" if value.starts_with('/') => value.clone_into(&mut self.init),
            "panic" => self.failure = failure(value),
            "modprobe.blacklist" | "module_blacklist" => {
                self.blacklist.extend(value.split(',').map(|name| name.replace('-', "_")));
            }
            _ => {
                if let Some((module, option)) = key.split_once('.') {
                    let option =
                        if value.is_empty() { option.into() } else { format!("{option}={value}") };
                    self.modules.push((module.replace('-', "_"), option));
                }
            }
        }
    }

    /// The options of a module, as the kernel takes them.
    pub(crate) fn options(&self, module: &str) -> String {
        let options = self.modules.iter().filter(|(name, _)| name == module);
        options.map(|(_, option)| option.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// Whether a module must not be loaded for a device.
    pub(crate) fn bans(&self, module: &str) -> bool {
        self.blacklist.iter().any(|name| name == module)
    }
}

impl Default for CommandLine {
    fn default() -> Self {
        Self {
            root: None,
            slot: None,
            data: Data::WithRoot,
            wait: WAIT,
            debug: false,
            loud: false,
            init: INIT.into(),
            failure: Failure::Waits,
            modules: Vec::new(),
            blacklist: Vec::new(),
        }
    }
}

fn data(value: &str) -> Data {
    match value {
        "none" => Data::Nowhere,
        value => value.parse().map_or(Data::WithRoot, Data::Partition),
    }
}

/// As the kernel has it: seconds until a restart, at once if negative, never if 0.
fn failure(value: &str) -> Failure {
    match value.parse::<i64>() {
        Ok(seconds) if seconds != 0 => {
            Failure::Restarts(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
        }
        _ => Failure::Waits,
    }
}

#[cfg(test)]
mod tests {
    use coremax_node_api::identity::command_line::is_known;
    use proptest::prelude::*;

    use super::*;

    const HASH: &str = "00112233445566778899aabbccddeeff0123456789abcdef0123456789abcdef";

    #[test]
    fn what_is_asked_for() {
        let text = format!(
            "BOOT_IMAGE=/a/vmlinuz coremax.root={HASH} coremax.slot=b ro panic=10 coremax.wait=5 \
             coremax.debug nvme-core.multipath=0 usbcore.quirks=\"a b\" modprobe.blacklist=nouveau,a-b \
             init=/usr/lib/systemd/systemd -- single init=/no\n"
        );
        let line = CommandLine::parse(&text);
        assert_eq!(line.root, HASH.parse().ok());
        assert_eq!((line.slot.as_deref(), line.debug, line.wait.as_secs()), (Some("b"), true, 5));
        assert_eq!(line.init, "/usr/lib/systemd/systemd");
        assert!(!line.loud && CommandLine::parse("quiet loglevel=7").loud);
        assert_eq!(line.failure, Failure::Restarts(Duration::from_secs(10)));
        assert_eq!(
            (&*line.options("nvme_core"), &*line.options("usbcore")),
            ("multipath=0", "quirks=a b")
        );
        assert!(line.bans("a_b") && !line.bans("ext4") && line.options("ext4").is_empty());
    }

    #[test]
    fn defaults() {
        for text in ["", "quiet ro", "coremax.root=zz coremax.wait=x init=sh panic=0 coremax.slot="]
        {
            assert_eq!(CommandLine::parse(text), CommandLine::default(), "{text}");
        }
    }

    #[test]
    fn whoever_looks_for_a_cluster_knows_these_words() {
        let own = include_str!("cmdline.rs").split("            \"coremax.").skip(1);
        let names: Vec<_> = own.filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(names, ["root", "slot", "data", "wait", "debug"]);
        assert!(names.iter().all(|name| is_known(&format!("coremax.{name}"))));
    }

    #[test]
    fn failures_and_data() {
        for (value, expected) in [
            ("0", Failure::Waits),
            ("x", Failure::Waits),
            ("-1", Failure::Restarts(Duration::ZERO)),
        ] {
            assert_eq!(failure(value), expected, "{value}");
        }
        let id = "00112233-4455-6677-8899-aabbccddeeff";
        for (value, expected) in [
            ("none", Data::Nowhere),
            (id, Data::Partition(id.parse().unwrap())),
            ("", Data::WithRoot),
        ] {
            assert_eq!(data(value), expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn foreign_text_never_panics(text in any::<String>()) {
            CommandLine::parse(&text);
        }
    }
}
