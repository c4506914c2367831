//! From a request to the closure of packages that apt would install on an empty system.
//!
//! The candidate of each name is fixed first; apt's own way of marking packages gives the answer
//! that apt prefers; an independent check proves that every relation holds in it. Where it does
//! not, a SAT solver searches all combinations of candidates, and says why there is none.
//! Only `architecture` and `all` count: there are no foreign architectures.
//! Documentation: apt-get(8), apt_preferences(5) and Debian Policy 7,
//! <https://www.debian.org/doc/debian-policy/ch-relationships.html>

mod check;
mod error;
mod explain;
mod keep;
mod lookup;
mod mark;
mod reason;
mod request;
mod solve;
#[cfg(test)]
mod tests;

pub use error::{Chain, Conflict, Unsolvable};
pub use keep::resolve_keeping;
pub use reason::{PackageSet, Reason, Selected};
pub use request::Request;

use lookup::Lookup;
use request::Roots;

use crate::Package;

/// The packages that `request` leads to, sorted by name, each with its reason. Versions other
/// than a name's candidate are chosen only where the request names them. The same packages and
/// request always give the same set.
///
/// # Errors
/// Why there is no such set, in the request's own terms.
pub fn resolve(packages: &[Package], request: &Request) -> Result<PackageSet, Unsolvable> {
    let lookup = Lookup::new(packages, &request.architecture);
    let roots = Roots::find(&lookup, request)?;
    let mark = |packages: &[_]| mark::mark(&lookup, &roots.excluded, packages, request.recommends);
    let proven = |chosen: &[_]| {
        let set = PackageSet::new(&lookup, &roots, chosen)?;
        match check::violation(&set, &request.architecture) {
            None => Ok(set),
            Some(violation) => Err(Unsolvable::Unproven { violation }),
        }
    };
    if let Ok(set) = proven(&mark(&roots.packages())?) {
        return Ok(set);
    }
    let solved = solve::solve(&lookup, &roots)?;
    // Marking what was solved adds the recommendations that do not stand in its way.
    match proven(&mark(&solved)?) {
        Ok(set) => Ok(set),
        Err(_) => proven(&solved),
    }
}
