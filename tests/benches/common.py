"""What the benchmarks share: builds and their peer, mmdebstrap, measured. Needs root and mmdebstrap, apt-utils."""
import glob, json, os, shutil, statistics, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
REPO = os.path.dirname(os.path.dirname(HERE))
COREMAX = os.path.join(REPO, "target/release/coremax")
BASE = "debian-12"  # of every recipe: Ubuntu's archive may be out of reach, and mmdebstrap must have the same one


def measured(command, **options):
    """Wall and CPU seconds of a command, and the peak resident MiB of its largest process."""
    begin = time.monotonic()
    child = subprocess.Popen(command, **options)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        for stream in filter(None, (options.get("stdout"), options.get("stderr"))):
            if hasattr(stream, "name"):
                sys.stderr.writelines(open(stream.name).readlines()[-10:])
        sys.exit(f"failed: {' '.join(command)}")
    wall = time.monotonic() - begin
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def forget_steps(cache):
    """Empties the step store but for the tools trees, whose making is told apart."""
    for record in glob.glob(f"{cache}/store/*/step.json"):
        with open(record) as file:
            if json.load(file).get("step") not in ("tools", "machine"):
                shutil.rmtree(os.path.dirname(record))


def build(recipe, cache, out, project=REPO):
    """Wall and CPU seconds and peak MiB of a build into an empty folder."""
    shutil.rmtree(out, ignore_errors=True)
    return build_again(recipe, cache, out, project)


def build_again(recipe, cache, out, project=REPO):
    """The same into a folder that may hold a result."""
    command = [COREMAX, "build", f"recipes/{recipe}.toml", "--base", BASE, "--no-test", "--cache", cache, "-o", out,
               "--progress", "none"]
    return measured(command, cwd=project)


def plan(recipe, cache, project=REPO):
    command = [COREMAX, "plan", f"recipes/{recipe}.toml", "--base", BASE, "--json", "--cache", cache, "--progress", "none"]
    return json.loads(subprocess.run(command, cwd=project, stdout=subprocess.PIPE, check=True).stdout)


def stages(recipe, out):
    manifest = sorted(glob.glob(f"{out}/{recipe}/*/manifest.json"))[-1]
    with open(manifest) as file:
        return [(s["name"], s["wall_seconds"], s["cpu_seconds"]) for s in json.load(file)["stages"]]


def copy(source, target):
    """A second name where the disk is the same."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)


def medians(runs):
    """Of each column."""
    return [statistics.median(column) for column in zip(*runs)]


def local_repository(cache, plan, folder):
    """The packages of the plan as a repository on disk that apt can read."""
    os.mkdir(folder)
    for package in plan["packages"]:
        digest = package["sha256"]
        source = f"{cache}/inputs/sha256/{digest[:2]}/{digest}"
        version = package["version"].replace(":", "%3a")
        copy(source, f"{folder}/{package['name']}_{version}_{package['architecture']}.deb")
    with open(f"{folder}/Packages", "w") as index:
        subprocess.run(["apt-ftparchive", "packages", "."], cwd=folder, stdout=index, check=True)
    # mmdebstrap takes what is essential from the suite of this name alone.
    release = ["apt-ftparchive", "-o", "APT::FTPArchive::Release::Codename=bookworm", "release", "."]
    text = subprocess.run(release, cwd=folder, stdout=subprocess.PIPE, check=True).stdout
    with open(f"{folder}/Release", "wb") as file:
        file.write(text)


# usr-is-merged, which the recipe names, wants what no package brings.
MERGE = 'for d in bin lib lib64 sbin; do mkdir -p "$1/usr/$d"; ln -s usr/$d "$1/$d"; done'


def mmdebstrap(plan, repository, out):
    """Wall and CPU seconds and peak MiB of a bare tar of the plan's packages."""
    names = ",".join(p["name"] for p in plan["packages"])
    command = ["mmdebstrap", "--mode=root", "--variant=essential", f"--include={names}",
               f"--setup-hook={MERGE}", "bookworm", out, f"deb [trusted=yes] copy:{repository} ./"]
    environment = dict(os.environ, SOURCE_DATE_EPOCH=str(plan["source-date-epoch"]))
    with open(f"{out}.log", "w") as log:
        return measured(command, env=environment, stdout=log, stderr=log)
