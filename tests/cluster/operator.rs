//! What an operator does, by the command line alone.

use std::{
    fs,
    path::{Path, PathBuf},
};

use coremax_sandbox::{Cmd, Sandbox};
use coremax_tests::{Outcome, coremax, expect, ran, runs_in};

use crate::{image::KEY, node::mac};

/// Which machines there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Preset {
    /// Three controllers.
    OpenStack,
    /// The same, and a worker.
    OneWorker,
    /// The same, and a worker that they need not wait for.
    LateWorker,
    /// Three controllers and five workers.
    Kubernetes,
}

/// An operator with a roster, signed, and media.
pub(crate) struct Operator {
    folder: PathBuf,
}

impl Operator {
    /// One whose cluster's machines have the cards [`mac`]; the operator's key lies above the folder.
    pub(crate) fn new(folder: &Path, preset: Preset) -> Result<Self, String> {
        fs::create_dir_all(folder).map_err(|e| e.to_string())?;
        let operator = Self { folder: folder.to_owned() };
        operator.roster("cluster.toml", preset)?;
        operator.runs(&["cluster", "check", "cluster.toml"])?;
        operator.sign()?;
        operator.runs(&["cluster", "seed-medium", "cluster.toml"])?;
        // With a key of its own, which the seed knows by the cluster's.
        let drive = ["--machine=control-3", "--config-drive", "-o", "drive.img"];
        operator.runs(&[&["cluster", "seed-medium", "cluster.toml"][..], &drive].concat())?;
        operator.wrong_key()?;
        Ok(operator)
    }

    /// A file of the operator's.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A new roster, filled in.
    fn roster(&self, file: &str, preset: Preset) -> Outcome {
        let (name, nodes) = match preset {
            Preset::OpenStack | Preset::OneWorker | Preset::LateWorker => {
                ("--preset=openstack-3", 3)
            }
            Preset::Kubernetes => ("--preset=kubernetes-3+5", 8),
        };
        let macs: Vec<_> = (1..=nodes).map(|number| format!("--mac={}", mac(number))).collect();
        let words = ["cluster", "new", name, "--subnet=10.77.0.0/24", file];
        let macs = macs.iter().map(String::as_str);
        self.runs(&words.into_iter().chain(macs).collect::<Vec<_>>())?;
        let path = self.file(file);
        let text = fs::read_to_string(&path).map_err(|e| e.to_string())?;
        let mut text = text.replace("CHANGE-ME", "virtio-osd");
        // What the image says of itself: with another one the cluster would wait.
        let image = ["# versions = { image = \"2026.11.22\" }", "versions = { image = \"1\" }"];
        expect(text.contains(image[0]), || format!("no image is named: {text}"))?;
        text = text.replace(image[0], image[1]);
        if matches!(preset, Preset::OneWorker | Preset::LateWorker) {
            let mac = mac(4);
            let row = "name = \"worker-1\"\nroles = [\"worker\"]\naddress = \"10.77.0.99\"";
            if preset == Preset::OneWorker {
                text = text.replace("minimum-workers = 0", "minimum-workers = 1");
            }
            text += &format!("\n[[node]]\n{row}\nmatch = {{ mac = \"{mac}\" }}\n");
        }
        fs::write(path, text).map_err(|e| e.to_string())
    }

    fn sign(&self) -> Outcome {
        self.runs(&["cluster", "sign", "cluster.toml", "--key", &format!("../{KEY}")])
    }

    /// Gives the place of a dead machine to the one with this card, in a new roster.
    pub(crate) fn replace(&self, name: &str, mac: &str) -> Outcome {
        self.runs(&["cluster", "replace", "cluster.toml", name, "--mac", mac])?;
        self.sign()
    }

    /// Gives a row to the machine with this card, over the network that this namespace is on.
    pub(crate) fn approve(&self, namespace: &str, mac: &str, name: &str) -> Outcome {
        let key = format!("../{KEY}");
        let asks = ["cluster", "approve", "10.77.0.11", mac, name, "--key", &key];
        let command = Cmd::new("ip", &Sandbox::host()).args(["netns", "exec", namespace]);
        let command = command.arg(coremax()).args(asks);
        let command = command.args(["--identity", "cluster.identity.json"]);
        let ran = ran(command.current_dir(&self.folder));
        expect(ran.ok, || format!("approving {mac}: {}", ran.err))
    }

    /// An identity of this cluster with the right key's id and another key.
    fn wrong_key(&self) -> Outcome {
        let text =
            fs::read_to_string(self.file("cluster.identity.json")).map_err(|e| e.to_string())?;
        let at = text.find("\"key\":\"").ok_or("there is no key in the identity")? + 7;
        let key: String = text[at..at + 64].chars().rev().collect();
        expect(key != text[at..at + 64], || "the key is the same backwards".into())?;
        let wrong = [&text[..at], &key, &text[at + 64..]].concat();
        fs::write(self.file("wrong.identity.json"), wrong).map_err(|e| e.to_string())
    }

    /// Runs the command, which must succeed.
    pub(crate) fn runs(&self, words: &[&str]) -> Outcome {
        runs_in(&self.folder, words)
    }
}
