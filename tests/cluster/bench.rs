//! How long a join takes: from the last machine's power-on until all three are ready, over the boot of one alone.

use std::{
    thread,
    time::{Duration, Instant},
};

use coremax_node_api::join::{Phase, STABLE_FOR};

use crate::{
    Stage, image,
    node::{Medium, Node},
    operator::{Operator, Preset},
    site::Site,
};

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(200);
/// Runs, of which the medians are taken.
const RUNS: usize = 3;
/// Where a boot ends that nobody waits for: all that the machine is to run has been started.
const BOOTED: &str = "until systemctl -q is-active multi-user.target; do sleep 0.1; done";

/// Measures, and tells.
///
/// # Errors
/// What keeps a machine from its end.
pub(crate) fn run(stage: &Stage) -> Result<(), String> {
    let image = image::built(&stage.work)?;
    let (mut alone, mut joined) = (Vec::new(), Vec::new());
    for run in 1..=RUNS {
        let site = |name: &str| {
            let operator =
                Operator::new(&stage.work.join(format!("{name}-{run}")), Preset::OpenStack);
            Site::new(operator?, &image)
        };
        alone.push(one(site("alone")?)?);
        joined.push(three(site("joined")?)?);
        println!("run {run}: alone {:.1} s, ready {:.1} s", alone[run - 1], joined[run - 1]);
    }
    let (alone, joined) = (median(alone), median(joined));
    println!("the stability window of {} s comes after ready, and is not in it", STABLE_FOR / 1000);
    println!("ratio ready={:.2}", joined / alone);
    Ok(())
}

fn one(mut site: Site) -> Result<f64, String> {
    let begin = Instant::now();
    site.start(&Node::new(1, Medium::None))?;
    site.guest(1)?.runs(BOOTED)?;
    Ok(begin.elapsed().as_secs_f64())
}

fn three(mut site: Site) -> Result<f64, String> {
    site.start(&Node::new(1, Medium::Volume))?;
    site.start(&Node::new(2, Medium::FwCfg))?;
    ready(&mut site, &[1, 2])?;
    let begin = Instant::now();
    site.start(&Node::new(3, Medium::ConfigDrive))?;
    ready(&mut site, &[3, 1, 2])?;
    Ok(begin.elapsed().as_secs_f64())
}

fn ready(site: &mut Site, numbers: &[u8]) -> Result<(), String> {
    for number in numbers {
        while site.status(*number)?.phase < Phase::Ready {
            thread::sleep(LOOK);
        }
    }
    Ok(())
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}
