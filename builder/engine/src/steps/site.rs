//! The site layer: what the recipe adds to its packages, recorded as an overlay's upper folder.
//!
//! Overlays, files, users, keys, settings and units; the node program, by which an image proves
//! itself; and what systemd must know at first boot.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use anyhow::{Context as _, Result, bail};
use coremax_disk::layer;
use coremax_fetch::Digest;
use coremax_node_api::update::key::{ON_NODE, PublicKey};
use coremax_recipe::{Content, Recipe};
use coremax_rootfs::{
    Group, Placed, Settings, Units, User, add_accounts, apply_settings, clean, link, overlay,
    place, set_units,
};
use coremax_sandbox::{Cmd, Overlay, Sandbox};

use super::{
    access,
    disk::{DATA_PARTITION, ROOT_PARTITION},
    lean, system,
};
use crate::{
    event::{Stage, Unit},
    files::Files,
    fingerprint::Fingerprint,
    identity::Identity,
    key,
    run::{Outputs, Step},
};

/// Changes when the same recipe makes another layer.
const REVISION: u32 = 7;
/// The step's name.
pub(crate) const ID: &str = "site";
/// The layer in the step's output.
pub(crate) const LAYER: &str = "layer";
/// The node program, built with this crate.
pub(crate) const NODE: &[u8] = include_bytes!(env!("COREMAX_NODE"));
/// Steps are asked often what they read: megabytes are hashed once.
pub(crate) static NODE_DIGEST: LazyLock<Digest> = LazyLock::new(|| Digest::of(NODE));
/// Without these no image can be tested, so no recipe has to think of them. Outside a test they are never started.
const BOOT_TEST: [(&str, &str); 2] = [
    (
        "/usr/lib/systemd/system/coremax-boot-test.service",
        include_str!("boot_test/coremax-boot-test.service"),
    ),
    (
        "/usr/lib/udev/rules.d/90-coremax-boot-test.rules",
        include_str!("boot_test/90-coremax-boot-test.rules"),
    ),
];
/// What a sealed image mounts, early boot has mounted.
const SEALED_FSTAB: &str =
    "# coremax-node mounts the root, /etc and what is in the data partition.\n";
/// Where early boot mounts the ESP of a sealed image.
const ESP: &str = "efi";
const OS_RELEASE: &str = "usr/lib/os-release";
/// Bytes for accounts, settings and links to units, at most.
const ACCOUNTS: u64 = 1 << 20;
/// Without its container engine a node is not healthy.
const ENGINES: [&str; 4] =
    ["containerd.service", "crio.service", "docker.service", "podman.socket"];
const NEEDED_FOR_HEALTH: &str = "usr/lib/systemd/system/coremax-health.target.requires";

/// The step that makes the site layer.
pub(crate) struct Site {
    recipe: Recipe,
    files: Files,
    fstab: String,
    epoch: u64,
    print: Fingerprint,
}

impl Site {
    /// The step for a recipe on the system layer with this fingerprint.
    pub(crate) fn new(
        recipe: &Recipe,
        system: Digest,
        identity: &Identity,
        epoch: u64,
    ) -> Result<Self> {
        let fstab = if recipe.root.verity { SEALED_FSTAB.to_owned() } else { fstab(identity) };
        let files = Files::of(recipe)?;
        let print = Fingerprint::new("site", REVISION)
            .with_digest("system", &system)
            .with("fstab", &fstab)
            .with("epoch", epoch.to_string())
            .with_digest("node program", &NODE_DIGEST)
            .with_json("boot test", &BOOT_TEST)
            .with_json("sealed", &recipe.root.verity)
            .with_json("image", &recipe.name)
            .with_json("settings", &(&recipe.hostname, &recipe.timezone, &recipe.locale))
            .with_json("access", &(&recipe.root_ssh_keys, &recipe.users))
            .with_json("units", &(&recipe.units, &recipe.expect.units))
            .with_json("files", &recipe.files)
            .with_json("brought along", &files)
            .listed(files.listed());
        Ok(Self { recipe: recipe.clone(), files, fstab, epoch, print })
    }

    /// What the recipe brings along.
    pub(crate) fn files(&self) -> &Files {
        &self.files
    }
}

impl Step for Site {
    fn id(&self) -> &'static str {
        ID
    }

    fn description(&self) -> String {
        "laying the recipe's files over the system".to_owned()
    }

    fn reads(&self) -> Fingerprint {
        self.print.clone()
    }

    fn needs(&self) -> &[&'static str] {
        &["system"]
    }

    fn room(&self) -> u64 {
        let texts = self.recipe.files.iter().map(|file| match &file.content {
            Content::Text(text) => text.len() as u64,
            Content::Copy { .. } => 0,
        });
        self.files.bytes() + texts.sum::<u64>() + NODE.len() as u64 + ACCOUNTS
    }

    fn run(&self, needed: &Outputs, out: &Path, stage: &Stage<'_>) -> Result<String> {
        stage.started("laying files", None, Unit::Count);
        let [upper, work, at] = [LAYER, "work", "tree"].map(|name| out.join(name));
        for folder in [&upper, &work, &at] {
            fs::create_dir(folder)?;
        }
        let system = needed.path("system", system::TREE);
        let merged = Overlay::mount(&[&system], &upper, &work, &at)?;
        let tree = merged.path();
        let mut written = self.lay_files(tree)?;
        written.extend(self.make_accounts(tree)?);
        self.refuse_changes()?;
        apply_settings(tree, &self.settings()).context("applying settings")?;
        set_units(tree, &self.units()).context("setting units")?;
        let enabled = enabled_units(tree)?;
        pin_presets(tree, &enabled)?;
        need_for_health(tree, engines(&enabled))?;
        self.name_image(tree)?;
        if self.recipe.root.verity {
            fs::create_dir_all(tree.join(ESP)).with_context(|| format!("making /{ESP}"))?;
        }
        clean(tree, self.epoch, &written)?;
        drop(merged);
        if self.recipe.root.verity {
            layer::settle(&upper, &[&system]).context("preparing the site layer")?;
        }
        crate::store::remove(&work)?;
        crate::store::remove(&at)?;
        Ok([(self.recipe.overlays.len(), "overlay"), (self.recipe.files.len(), "file")]
            .map(|(count, what)| format!("{count} {what}{}", if count == 1 { "" } else { "s" }))
            .join(", "))
    }
}

impl Site {
    /// Returns where what the recipe's author wrote came to lie.
    fn lay_files(&self, tree: &Path) -> Result<Vec<PathBuf>> {
        let own = [
            file("/usr/bin/coremax-node", NODE, 0o755),
            file("/etc/fstab", self.fstab.as_bytes(), 0o644),
        ];
        place(tree, &own)?;
        place(tree, &BOOT_TEST.map(|(path, text)| file(path, text.as_bytes(), 0o644)))?;
        if self.recipe.root.verity {
            lean::lay(tree, &self.recipe)?;
        }
        if self.recipe.root.update_key.is_some() {
            place(tree, &[file(ON_NODE, self.update_keys()?.as_bytes(), 0o644)])?;
        }
        let mut written = Vec::new();
        for folder in &self.recipe.overlays {
            let laid = overlay(tree, &folder.source);
            written.extend(laid.with_context(|| format!("laying {}", folder.from))?);
        }
        Ok(written)
    }

    /// What was edited since the plan is not what the fingerprint stands for.
    fn refuse_changes(&self) -> Result<()> {
        match self.files.difference(&Files::of(&self.recipe)?) {
            Some(path) => bail!("{path} was changed since the build began: build again"),
            None => Ok(()),
        }
    }

    /// Users come before the files that may belong to them. Returns where the files came to lie.
    fn make_accounts(&self, tree: &Path) -> Result<Vec<PathBuf>> {
        let root = User {
            name: "root".to_owned(),
            authorized_keys: keys(&self.recipe.root_ssh_keys),
            ..User::default()
        };
        let mut users: Vec<_> =
            std::iter::once(root).chain(self.recipe.users.iter().map(user)).collect();
        if access::is_in_root(tree) {
            users.iter_mut().for_each(|user| user.authorized_keys.clear());
            place(tree, &access::files(&self.recipe))?;
        }
        add_accounts(tree, &[] as &[Group], &users, self.epoch).context("making accounts")?;
        let files = self.recipe.files.iter().map(placed).collect::<Result<Vec<_>>>()?;
        Ok(place(tree, &files)?)
    }

    fn settings(&self) -> Settings {
        Settings {
            hostname: Some(self.recipe.hostname.to_string()),
            timezone: Some(self.recipe.timezone.to_string()),
            locale: Some(self.recipe.locale.to_string()),
        }
    }

    fn units(&self) -> Units {
        let units = &self.recipe.units;
        Units {
            enable: units.enable.iter().map(ToString::to_string).collect(),
            disable: units.disable.iter().map(ToString::to_string).collect(),
            mask: lean::masked(&self.recipe),
        }
    }

    /// The keys that sign updates, in the words that the node reads.
    fn update_keys(&self) -> Result<String> {
        Ok(key::believed(&self.recipe)?.iter().map(PublicKey::to_line).collect())
    }

    /// By this a node knows which updates are its own, see os-release(5). The version stands on the
    /// kernel's command line: another one alone is no other layer.
    fn name_image(&self, tree: &Path) -> Result<()> {
        let path = tree.join(OS_RELEASE);
        let text = fs::read_to_string(&path).with_context(|| format!("reading /{OS_RELEASE}"))?;
        let text = os_release(&text, self.recipe.name.as_str());
        place(tree, &[file(&format!("/{OS_RELEASE}"), text.as_bytes(), 0o644)])?;
        Ok(())
    }
}

/// The distribution's own text with the image's name in it.
fn os_release(text: &str, name: &str) -> String {
    let others = text.lines().filter(|line| !line.starts_with("IMAGE_"));
    let others: String = others.map(|line| format!("{line}\n")).collect();
    format!("{others}IMAGE_ID={name}\n")
}

/// The units that start at boot: a unit and its state on each line.
fn enabled_units(tree: &Path) -> Result<String> {
    let listed = Cmd::new("systemctl", &Sandbox::tree(tree))
        .args(["--root=/", "list-unit-files", "--state=enabled", "--no-legend", "--plain"])
        .run()
        .context("listing the enabled units")?;
    Ok(String::from_utf8_lossy(&listed.stdout).into_owned())
}

/// At first boot systemd enables whatever no preset forbids. What is enabled now stays so, and
/// nothing else gets in.
fn pin_presets(tree: &Path, enabled: &str) -> Result<()> {
    let path = "/usr/lib/systemd/system-preset/00-coremax.preset";
    place(tree, &[file(path, presets(enabled).as_bytes(), 0o644)])?;
    Ok(())
}

/// Makes these units part of what a version on trial must show.
fn need_for_health<'a>(tree: &Path, units: impl Iterator<Item = &'a str>) -> Result<()> {
    for unit in units {
        let path = Path::new(NEEDED_FOR_HEALTH).join(unit);
        link(tree, &path, Path::new(&format!("../{unit}")))
            .with_context(|| format!("adding {unit} to the health of the node"))?;
    }
    Ok(())
}

/// The container engines among the enabled units.
fn engines(enabled: &str) -> impl Iterator<Item = &str> {
    names(enabled).filter(|unit| ENGINES.contains(unit))
}

/// The preset that keeps what `listed` says.
fn presets(listed: &str) -> String {
    names(listed).map(|unit| format!("enable {unit}\n")).chain(["disable *\n".to_owned()]).collect()
}

/// The units in a list, which has one and its state on each line.
fn names(listed: &str) -> impl Iterator<Item = &str> {
    listed.lines().filter_map(|line| line.split_whitespace().next())
}

/// File systems by partition, so that no label of another disk is mistaken for ours.
fn fstab(identity: &Identity) -> String {
    let [root, data] = [ROOT_PARTITION, DATA_PARTITION].map(|partition| identity.of(partition));
    format!(
        "# <device> <mount point> <type> <options> <dump> <pass>\n\
         PARTUUID={root} / ext4 errors=remount-ro 0 1\n\
         PARTUUID={data} /var ext4 defaults,x-systemd.growfs 0 2\n"
    )
}

pub(super) fn file(path: &str, content: &[u8], mode: u32) -> Placed {
    let root = "root".to_owned();
    Placed { path: path.into(), content: content.to_vec(), mode, owner: root.clone(), group: root }
}

fn placed(file: &coremax_recipe::File) -> Result<Placed> {
    let content = match &file.content {
        Content::Text(text) => text.clone().into_bytes(),
        Content::Copy { source, .. } => {
            fs::read(source).with_context(|| format!("reading {}", source.display()))?
        }
    };
    Ok(Placed {
        path: file.path.as_str().into(),
        content,
        mode: u32::from(file.mode.bits()),
        owner: file.owner.to_string(),
        group: file.group.to_string(),
    })
}

fn user(user: &coremax_recipe::User) -> User {
    User {
        name: user.name.to_string(),
        uid: user.uid,
        gid: user.gid,
        groups: user.groups.iter().map(ToString::to_string).collect(),
        comment: user.gecos.to_string(),
        shell: Some(user.shell.as_str().into()),
        system: user.system,
        authorized_keys: keys(&user.ssh_keys),
        ..User::default()
    }
}

fn keys(keys: &[coremax_recipe::SshKey]) -> Vec<String> {
    keys.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_keep_what_is_enabled_and_nothing_else() {
        let listed = "ssh.service enabled enabled\ngetty@.service  enabled  enabled\n";
        assert_eq!(presets(listed), "enable ssh.service\nenable getty@.service\ndisable *\n");
        assert_eq!(presets(""), "disable *\n");
    }

    #[test]
    fn an_enabled_engine_is_part_of_health() {
        let enabled = "ssh.service enabled enabled\ndocker.service enabled enabled\n";
        assert_eq!(engines(enabled).collect::<Vec<_>>(), ["docker.service"]);
        let tree = tempfile::tempdir().unwrap();
        need_for_health(tree.path(), engines(enabled)).unwrap();
        let link = tree.path().join(NEEDED_FOR_HEALTH).join("docker.service");
        assert_eq!(fs::read_link(link).unwrap(), Path::new("../docker.service"));
    }

    #[test]
    fn an_image_has_one_name() {
        let text = os_release("ID=debian\nIMAGE_ID=cloud\nIMAGE_VERSION=1\n", "node");
        assert_eq!(text, "ID=debian\nIMAGE_ID=node\n");
    }

    #[test]
    fn file_systems_are_found_by_partition() {
        let text = fstab(&Identity::new("node", &Digest::of("")));
        let lines: Vec<_> = text.lines().skip(1).collect();
        assert!(lines.iter().all(|line| line.starts_with("PARTUUID=")), "{text}");
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn the_node_program_does_not_tell_where_it_was_built() {
        let has = |text: &str| NODE.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(has("/cargo/registry/src"), "it tells of no place at all");
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
        assert!(!has(&format!("{}/", workspace.display())));
        assert!(!has("/.cargo/registry"));
    }
}
