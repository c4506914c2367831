//! What the command line says of clusters.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum, builder::PossibleValuesParser};
use coremax_cluster::{new::Preset, seed::Place};
use coremax_node_api::roster::{Mac, Name, Subnet};

#[derive(ClapArgs)]
pub(crate) struct Cluster {
    #[command(subcommand)]
    pub(crate) verb: ClusterVerb,
}

#[derive(Subcommand)]
pub(crate) enum ClusterVerb {
    /// Write a roster to go on with; asks, in a terminal, for what no flag says
    New(NewCluster),
    /// Read rosters and say what is wrong with them
    Check {
        /// The rosters, TOML files
        #[arg(required = true)]
        rosters: Vec<PathBuf>,
    },
    /// Sign a roster: nodes take no other
    ///
    /// The one that was signed before is followed by one of a later epoch alone: two of one epoch could make two clusters.
    Sign {
        /// The roster, a TOML file
        roster: PathBuf,
        /// Sign with the key in this file, which `coremax key new` makes
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Where the signed roster goes [default: beside the roster, ending in .coremax-roster]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Make what tells blank machines their cluster, with the key that proves it: a volume for a USB stick
    ///
    /// The key is made once, in ROSTER.identity.json, which is secret: keep it out of version control. The same file is
    /// for QEMU's fw_cfg: -fw_cfg name=opt/coremax/identity,file=FILE. A machine takes it in within seconds;
    /// coremax-node identify says what it was told.
    ///
    /// Where ROSTER is signed and names its machines, the signed roster goes onto the volume too: the machine that it names
    /// as the seed becomes the seed by itself. (In fw_cfg it is opt/coremax/roster.)
    ///
    /// In a pool the machine that is given the signed roster becomes the seed: --for-seed makes the medium for that one, and
    /// without it that for all others is made. They have the same key.
    ///
    /// --machine NAME makes a medium for that one machine, with a key of its own that comes of the cluster's: who has it can
    /// join as a machine, pose as the seed to no other one, and ask for no status. Only the seed's medium has the cluster's
    /// key then.
    SeedMedium(SeedMedium),
    /// Say how far a running cluster is: its nodes, what it waits for, and machines that wait for a row
    ///
    /// Ends with success when the seed has answered; with --wait, when the cluster is so far.
    Status(StatusOf),
    /// Give a row to a machine that waits
    ///
    /// The row is a worker's: a controller's machine is named in the roster. The machine must have proven the cluster's key,
    /// and wait; coremax cluster status lists those that do.
    #[command(
        override_usage = "coremax cluster approve [OPTIONS] --identity <FILE> --key <FILE>\n       \
                                <ADDRESS> <MACHINE> <NAME>"
    )]
    Approve {
        #[command(flatten)]
        seed: Seed,
        /// The machine: the fingerprint that its console shows, or how that begins, or a MAC, or the serial number
        machine: String,
        /// The row
        name: Name,
        /// Sign with the key in this file, which signs the roster too
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Write another machine into a row of a roster: epoch and generation are raised, all else stays as it is written
    ///
    /// Says what it changed. The roster is then to be signed, and put in; the machine that had the row stays out.
    Replace {
        /// The roster, a TOML file
        roster: PathBuf,
        /// The row
        name: Name,
        /// The new machine's MAC [default: the row means the machine that it meant, with another disk]
        #[arg(long, value_name = "MAC")]
        mac: Option<Mac>,
        /// The new machine's serial number
        #[arg(long, value_name = "SERIAL", conflicts_with = "mac")]
        serial: Option<String>,
    },
    /// Put a newer signed roster into a running seed
    Put {
        #[command(flatten)]
        seed: Seed,
        /// The signed roster, which coremax cluster sign makes
        roster: PathBuf,
    },
    /// Play the join of many clusters, with everything going wrong, and see that each becomes one
    ///
    /// A run is a number, and the same number is the same run. The last line says how many runs there were, how many
    /// formed their cluster, and how many broke a promise.
    Simulate(Simulate),
}

#[derive(ClapArgs)]
pub(crate) struct Simulate {
    /// How many runs
    ///
    /// [default: 1000, or 20 with --cuts; with --seed that run alone]
    #[arg(long, value_name = "N")]
    pub(crate) seeds: Option<u64>,
    /// The number of the first run
    #[arg(long, value_name = "K")]
    pub(crate) seed: Option<u64>,
    /// Play calm runs, in which nothing goes wrong but one power cut: each once for every write of every machine to its disk,
    /// lost and done
    #[arg(long)]
    pub(crate) cuts: bool,
    /// Play a calm run with one of these power cuts, by its number
    #[arg(long, value_name = "C", requires = "seed", conflicts_with_all = ["seeds", "cuts"])]
    pub(crate) cut: Option<u64>,
    /// Tell what happens in the run
    #[arg(long, requires = "seed", conflicts_with_all = ["seeds", "cuts"])]
    pub(crate) trace: bool,
}

#[derive(ClapArgs)]
pub(crate) struct NewCluster {
    /// Where it goes; no file is overwritten
    #[arg(default_value = "cluster.toml")]
    pub(crate) file: PathBuf,
    /// Which nodes it has [default: openstack-3]
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(Preset::ALL.map(Preset::name)))]
    pub(crate) preset: Option<String>,
    /// How many controllers it has, an odd number [default: the preset's, 3]
    #[arg(long, value_name = "N")]
    pub(crate) controllers: Option<u32>,
    /// How many nodes it has beside them [default: the preset's, 0 or 5]
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<u32>,
    /// Where all addresses are; the VIP is host 10, the nodes follow [default: 10.0.0.0/24]
    #[arg(long, value_name = "NETWORK/BITS")]
    pub(crate) subnet: Option<Subnet>,
    /// The MAC of the next row's machine; may be given again
    #[arg(long, value_name = "MAC", conflicts_with = "pool")]
    pub(crate) mac: Vec<Mac>,
    /// The machines are alike: rows name none
    #[arg(long)]
    pub(crate) pool: bool,
}

#[derive(ClapArgs)]
pub(crate) struct SeedMedium {
    /// The roster, a TOML file
    pub(crate) roster: PathBuf,
    /// The file of the cluster's key [default: beside the roster, ending in .identity.json]
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
    /// Make an OpenStack config drive rather than a volume labelled COREMAX
    #[arg(long)]
    pub(crate) config_drive: bool,
    /// Make the one medium with the signed roster on it, for the machine of a pool that is to be its seed
    #[arg(long)]
    pub(crate) for_seed: bool,
    /// Make the medium of this row's machine alone, with a key of its own, kept in ROSTER.NAME.identity.json
    #[arg(long, value_name = "NAME", conflicts_with = "for_seed")]
    pub(crate) machine: Option<Name>,
    /// Where the volume goes [default: beside the roster, ending in .seed.img, .for-seed.img for the pool's seed, or
    /// .NAME.img for one machine]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(ClapArgs)]
pub(crate) struct Seed {
    /// Where the seed is: ADDRESS or ADDRESS:PORT
    #[arg(id = "address", value_name = "ADDRESS")]
    pub(crate) place: Place,
    /// The file of the cluster's key, which coremax cluster seed-medium made: ROSTER.identity.json
    #[arg(long, value_name = "FILE", env = "COREMAX_IDENTITY", hide_env_values = true)]
    pub(crate) identity: PathBuf,
}

#[derive(ClapArgs)]
pub(crate) struct StatusOf {
    #[command(flatten)]
    pub(crate) seed: Seed,
    /// As JSON, in one line
    #[arg(long)]
    pub(crate) json: bool,
    /// Go on, and show what changes
    #[arg(long)]
    pub(crate) watch: bool,
    /// Say nothing before the cluster is so far, also where the seed does not answer yet
    #[arg(long, value_enum, value_name = "STAGE", conflicts_with = "watch")]
    pub(crate) wait: Option<Stage>,
    /// Wait for so many seconds at most, and fail then [default: as long as it takes]
    #[arg(long, value_name = "SECONDS", requires = "wait")]
    pub(crate) timeout: Option<u64>,
}

/// How far a cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stage {
    /// Nothing is missing, and the nodes promise themselves to it
    Forming,
    /// It is being deployed
    Deploying,
    /// It is formed
    Formed,
}
