//! What the command line says. Help, completions and man pages all come from here.

mod cluster;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum, builder::PossibleValuesParser};
use coremax_recipe::{Base, Bytes, Version};

pub(crate) use cluster::{
    Cluster, ClusterVerb, NewCluster, Seed, SeedMedium, Simulate, Stage, StatusOf,
};

/// The folder of all results, unless another is named.
pub(crate) const IMAGES: &str = "images";

/// From a recipe to images that are proven to boot.
///
/// coremax makes bootable images of Debian and Ubuntu from a recipe, and boots each of them by BIOS
/// and by UEFI before it calls it done. It needs no root, no loop device and no host tools: what it
/// runs, it takes from the distribution's archive.
#[derive(Parser)]
#[command(
    name = "coremax",
    version,
    propagate_version = true,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Start with:  coremax build recipes/node.toml --ssh-key ~/.ssh/id_ed25519.pub"
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What every verb takes.
#[derive(ClapArgs)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// Keep downloads, tools and finished steps here
    ///
    /// Builds share it and may use it at once. [default: $XDG_CACHE_HOME/coremax, else
    /// ~/.cache/coremax]
    #[arg(long, global = true, value_name = "DIR", env = "COREMAX_CACHE", hide_env_values = true)]
    pub(crate) cache: Option<PathBuf>,
    /// After a build, remove the finished steps that were not used for longest until this much is left
    ///
    /// What a running build uses stays, this one's own too. Downloads are not counted: one may be nowhere else any more.
    #[arg(
        long,
        global = true,
        value_name = "SIZE",
        env = "COREMAX_CACHE_LIMIT",
        default_value = "20GiB",
        hide_env_values = true
    )]
    pub(crate) cache_limit: Bytes,
    /// How to tell what is going on
    #[arg(long, global = true, value_enum, default_value_t = Progress::Auto, value_name = "HOW")]
    pub(crate) progress: Progress,
}

impl Global {
    /// How to show progress, where a verb's own `--json` is another word for `--progress json`.
    pub(crate) fn progress_or_json(&self, json: bool) -> Progress {
        if json { Progress::Json } else { self.progress }
    }
}

/// How progress is shown.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    /// `live` in a terminal, else `plain`
    Auto,
    /// Bars that move
    Live,
    /// A line a stage
    Plain,
    /// Events as JSON lines on standard output
    Json,
    /// Errors alone
    None,
}

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Make the images of a recipe and prove that they boot
    Build(Build),
    /// Read a recipe and say what is wrong with it
    Check(Check),
    /// Say what a build would do, and do nothing
    Plan(Plan),
    /// Pin every package, file and id that a recipe's build reads, in RECIPE.lock beside it
    ///
    /// With --base, for another distribution than the recipe says, in RECIPE.BASE.lock.
    Lock(Lock),
    /// Gather what locked builds read into a folder, for a site without a network
    Vendor(Vendor),
    /// Boot an image again and check what it promised
    Test(Test),
    /// Start an image with its console in this terminal, on a throw-away copy
    Run(Run),
    /// Remove what builds left in the cache
    Clean(Clean),
    /// Make the keys that sign updates, and images for Secure Boot
    Key(Key),
    /// Say what a cluster is, sign it, and look after one that runs
    Cluster(Cluster),
    /// Print the JSON schema of recipes, for editors
    Schema,
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the man pages into a folder, or print the main one
    Man {
        /// The folder
        folder: Option<PathBuf>,
    },
}

/// Which recipe, and what to change in it.
#[derive(ClapArgs, Clone)]
pub(crate) struct From {
    /// The recipe, a TOML file
    pub(crate) recipe: PathBuf,
    /// Build on another distribution than the recipe says
    #[arg(long, value_name = "ID", value_parser = PossibleValuesParser::new(Base::all().iter().map(|base| base.as_str())))]
    pub(crate) base: Option<String>,
    /// Let the owner of this public key in as root; may be given again
    #[arg(long, value_name = "FILE")]
    pub(crate) ssh_key: Vec<PathBuf>,
    /// What to make, instead of what the recipe says
    #[arg(long, value_name = "FORMAT", value_parser = ["qcow2", "raw"])]
    pub(crate) format: Vec<String>,
    // Last: what follows a heading stands under it.
    #[command(flatten)]
    pub(crate) mirrors: Mirrors,
}

/// Where packages come from.
#[derive(ClapArgs, Clone, Default)]
#[command(next_help_heading = "Archive")]
pub(crate) struct Mirrors {
    /// The distribution's archive [default: the recipe's, else for Debian the one in this host's
    /// apt configuration]
    #[arg(long, value_name = "URL")]
    pub(crate) mirror: Option<String>,
    /// The distribution's security archive
    #[arg(long, value_name = "URL")]
    pub(crate) security_mirror: Option<String>,
    /// Believe archives signed by this key instead of the distribution's own; may be given again
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Vec<PathBuf>,
    /// Ask the archive for news, even if it was asked within the hour
    #[arg(long)]
    pub(crate) refresh: bool,
}

/// Whether the lock decides, and where its packages may come from.
#[derive(ClapArgs, Clone, Default)]
#[command(next_help_heading = "Lock")]
pub(crate) struct Locking {
    /// Build what the recipe's lock says, to the byte, and nothing else; implied by --offline
    #[arg(long)]
    pub(crate) locked: bool,
    #[command(flatten)]
    pub(crate) shelf: Shelf,
}

/// What a site without a network has.
#[derive(ClapArgs, Clone, Default)]
pub(crate) struct Shelf {
    /// Use no network: everything is in --inputs or in the cache
    #[arg(long)]
    pub(crate) offline: bool,
    /// Take packages from this folder, which `coremax vendor` filled, before any archive
    #[arg(long, value_name = "DIR")]
    pub(crate) inputs: Option<PathBuf>,
}

#[derive(ClapArgs)]
pub(crate) struct Lock {
    /// Move the lock to what the archive has now: all of it, or the packages named and what they need
    #[arg(long)]
    pub(crate) update: bool,
    #[command(flatten)]
    pub(crate) from: From,
    /// Packages to move, with --update
    #[arg(requires = "update", value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

#[derive(ClapArgs)]
pub(crate) struct Vendor {
    /// The folder; what is right in it already stays
    pub(crate) folder: PathBuf,
    /// The recipes, each with its lock beside it
    #[arg(required = true)]
    pub(crate) recipes: Vec<PathBuf>,
    /// Gather for another distribution than the recipes say, as it was locked with --base
    #[arg(long, value_name = "ID", value_parser = PossibleValuesParser::new(Base::all().iter().map(|base| base.as_str())))]
    pub(crate) base: Option<String>,
    #[command(flatten)]
    pub(crate) mirrors: Mirrors,
}

#[derive(ClapArgs)]
pub(crate) struct Build {
    /// Put the result below this folder, as RECIPE/VERSION
    #[arg(long, short, value_name = "DIR", default_value = IMAGES)]
    pub(crate) output: PathBuf,
    /// The image's version, by which a node knows what is newer [default: the recipe's, else the
    /// date]
    #[arg(long, value_name = "VERSION")]
    pub(crate) image_version: Option<Version>,
    /// Make an update to this version too, signed with the key in this file
    ///
    /// `coremax key new` makes keys. Nodes believe those that [root] update-key of their recipe names.
    #[arg(long, value_name = "FILE")]
    pub(crate) sign_key: Option<PathBuf>,
    /// Sign the image with this private key (PEM), for a recipe with [root] secure-boot = "sealed"
    ///
    /// `coremax key new --secure-boot` makes keys. The key itself gets neither into the image nor into the cache.
    #[arg(long, value_name = "FILE", requires = "secure_boot_cert")]
    pub(crate) secure_boot_key: Option<PathBuf>,
    /// The key's certificate (PEM), which the machines' firmware has enrolled
    #[arg(long, value_name = "FILE", requires = "secure_boot_key")]
    pub(crate) secure_boot_cert: Option<PathBuf>,
    /// Do not boot the image: the result is marked as untested and must not be published
    #[arg(long)]
    pub(crate) no_test: bool,
    /// Tell what is going on as JSON lines: --progress json
    #[arg(long, conflicts_with = "progress")]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) from: From,
    #[command(flatten)]
    pub(crate) locking: Locking,
    #[command(flatten)]
    pub(crate) boot: Boot,
}

/// How a boot test goes about it.
#[derive(ClapArgs, Clone)]
#[command(next_help_heading = "Boot test")]
pub(crate) struct Boot {
    /// Firmware to boot with, `secure` being UEFI with Secure Boot on; may be given again [default:
    /// all that the image is made for]
    #[arg(long, value_name = "FIRMWARE", value_parser = ["bios", "uefi", "secure"])]
    pub(crate) firmware: Vec<String>,
    /// Multiply all deadlines by this, for a slow machine
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    pub(crate) patience: f64,
}

#[derive(ClapArgs)]
pub(crate) struct Check {
    /// The recipes, TOML files
    #[arg(required = true)]
    pub(crate) recipes: Vec<PathBuf>,
}

#[derive(ClapArgs)]
pub(crate) struct Plan {
    /// Print the plan as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Say why this step runs again, or else why the package of this name gets in, and nothing else
    #[arg(long, value_name = "STEP|PACKAGE", conflicts_with = "json")]
    pub(crate) why: Option<String>,
    #[command(flatten)]
    pub(crate) from: From,
    #[command(flatten)]
    pub(crate) locking: Locking,
}

#[derive(ClapArgs)]
pub(crate) struct Test {
    /// A folder that a build made, such as images/node/latest, or the recipe of one in images/
    pub(crate) image: PathBuf,
    /// Put the report into this folder: report.html, report.json, junit.xml, logs and screenshots
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
    /// Tell what is going on as JSON lines: --progress json
    #[arg(long, conflicts_with = "progress")]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) mirrors: Mirrors,
    #[command(flatten)]
    pub(crate) shelf: Shelf,
    #[command(flatten)]
    pub(crate) boot: Boot,
}

#[derive(ClapArgs)]
pub(crate) struct Run {
    /// A folder that a build made, such as images/node/latest, or the recipe of one in images/
    pub(crate) image: PathBuf,
    /// Firmware to boot with
    #[arg(long, value_name = "FIRMWARE", default_value = "uefi", value_parser = ["bios", "uefi", "secure"])]
    pub(crate) firmware: String,
    /// Memory in MiB
    #[arg(long, value_name = "MIB", default_value_t = 2048)]
    pub(crate) memory: u32,
    /// Reach the guest's SSH server at this port of 127.0.0.1 [default: a free one]
    #[arg(long, value_name = "PORT")]
    pub(crate) ssh_port: Option<u16>,
    #[command(flatten)]
    pub(crate) mirrors: Mirrors,
    #[command(flatten)]
    pub(crate) shelf: Shelf,
}

#[derive(ClapArgs)]
pub(crate) struct Clean {
    /// Remove the finished steps that were not used for longest until this much is left, and nothing else
    #[arg(long, value_name = "SIZE", conflicts_with = "all")]
    pub(crate) limit: Option<Bytes>,
    /// Downloads too, not only finished steps, leftovers and archive indexes
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(ClapArgs)]
pub(crate) struct Key {
    #[command(subcommand)]
    pub(crate) verb: KeyVerb,
}

#[derive(Subcommand)]
pub(crate) enum KeyVerb {
    /// Make a key: FILE is the secret half for --sign-key, FILE.pub the public one for a recipe's
    /// [root] update-key
    New {
        /// Where it goes; no file is overwritten
        file: PathBuf,
        /// Make one for Secure Boot: FILE is for --secure-boot-key, FILE.crt for --secure-boot-cert
        #[arg(long)]
        secure_boot: bool,
    },
}
