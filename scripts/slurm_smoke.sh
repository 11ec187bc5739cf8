#!/usr/bin/env bash
# A sweep under a real SLURM, on this machine alone: a job array of shards of the demo; one job is cancelled, one killed
# with -9; the same command resumes; one job is queued again by SIGUSR2, one by a preemption; the scores must be those of one
# process, bit for bit. And a job that fails must be FAILED for SLURM. In about two minutes, loopback only, nothing stays.
#
#     apt-get install -y --no-install-recommends slurmctld slurmd slurm-client slurmdbd munge \
#         mariadb-server-core mariadb-client-core
#     scripts/slurm_smoke.sh [PYTHON]
#
# Two slurmd on one host are two nodes of a core each. Accounting (slurmdbd, MariaDB) is needed: without it, submitit waits
# for ever for a job that was killed.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${1:-$root/.venv/bin/python}
[[ $python != */* ]] || python=$(realpath -s "$python")
port=${SLURM_SMOKE_PORT:-$((20000 + RANDOM % 20000))}
top=$(mktemp -d -t zsiqa-slurm-XXXXXX)
slurm=$top/slurm
export OMP_NUM_THREADS=1 # as in a job with one core
export SLURM_CONF=$slurm/slurm.conf MYSQL_UNIX_PORT=$slurm/db.sock PATH=$PATH:/usr/sbin PYTHONPATH=$root HF_HUB_OFFLINE=1
began=$SECONDS

say() { echo "[$((SECONDS - began)) s] $*"; }
die() { say "FAILED: $*" >&2; exit 1; }

await() { # SECONDS WHAT COMMAND...: until the command succeeds
    local last=$((SECONDS + $1)) what=$2; shift 2
    until "$@" > /dev/null 2>&1; do
        [ $SECONDS -lt $last ] || die "waited in vain for $what"
        sleep 0.2
    done
}

tear_down() {
    local status=$? name pid
    trap - EXIT INT TERM
    set +e
    if [ $status != 0 ]; then tail -n 8 "$slurm"/log/slurm* "$top"/*.log "$top"/run/results/.submitit/*/*.err 2> /dev/null; fi
    [ -z "$(jobs -p)" ] || kill $(jobs -p) 2> /dev/null
    scancel --full -u "$(id -un)" 2> /dev/null && sleep 1
    for name in slurmd-n1 slurmd-n2 slurmctld slurmdbd db munged; do
        pid=$(cat "$slurm/$name.pid" 2> /dev/null) || continue
        kill "$pid" 2> /dev/null
        for _ in $(seq 50); do
            [[ $(ps -o stat= -p "$pid") =~ ^[^Z] ]] || break
            sleep 0.1
        done
        kill -9 "$pid" 2> /dev/null
    done
    rm -rf "$top"
    say "torn down"
    exit $status
}
trap tear_down EXIT
trap 'exit 130' INT TERM

bring_up() {
    local user host; user=$(id -un) host=$(hostname -s)
    chmod 755 "$top"
    mkdir -p "$slurm"/{log,state,db,spool/n1,spool/n2}
    (umask 077; head -c 1024 /dev/urandom > "$slurm/munge.key")
    munged --key-file="$slurm/munge.key" --socket="$slurm/munge.sock" --pid-file="$slurm/munged.pid" \
        --log-file="$slurm/log/munged.log" --seed-file="$slurm/munge.seed"
    mariadb-install-db --no-defaults --user="$user" --datadir="$slurm/db" --auth-root-authentication-method=normal \
        --skip-test-db > "$slurm/log/install-db.log" 2>&1
    mariadbd --no-defaults --user="$user" --datadir="$slurm/db" --socket="$slurm/db.sock" --pid-file="$slurm/db.pid" \
        --skip-networking --innodb-buffer-pool-size=64M --innodb-lock-wait-timeout=900 \
        --innodb-flush-log-at-trx-commit=0 > "$slurm/log/mariadb.log" 2>&1 < /dev/null &
    disown
    local sql=(mariadb --no-defaults -S "$slurm/db.sock" -uroot)
    await 30 MariaDB "${sql[@]}" -e 'select 1'
    "${sql[@]}" -e "create database slurm_acct_db; create user 'slurm'@'localhost' identified by 'slurm';
                    grant all on slurm_acct_db.* to 'slurm'@'localhost'"
    local common="AuthType=auth/munge
AuthInfo=socket=$slurm/munge.sock
SlurmUser=$user"
    (umask 077; cat > "$slurm/slurmdbd.conf") << END
$common
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$((port + 2))
LogFile=$slurm/log/slurmdbd.log
PidFile=$slurm/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
END
    slurmdbd
    await 20 slurmdbd bash -c "echo > /dev/tcp/127.0.0.1/$((port + 2))"
    cat > "$SLURM_CONF" << END
$common
ClusterName=smoke
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmdUser=$user
StateSaveLocation=$slurm/state
SlurmdSpoolDir=$slurm/spool/%n
SlurmctldPidFile=$slurm/slurmctld.pid
SlurmdPidFile=$slurm/slurmd-%n.pid
SlurmctldLogFile=$slurm/log/slurmctld.log
SlurmdLogFile=$slurm/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/linux
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_min_interval=0,bf_interval=2
KillWait=5
ReturnToService=2
MailProg=/bin/true
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((port + 2))
AccountingStoragePass=$slurm/munge.sock
NodeName=n[1-2] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$((port + 11))-$((port + 12))] CPUs=1 RealMemory=8000 State=UNKNOWN
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=30
PartitionName=urgent Nodes=n[1-2] MaxTime=INFINITE State=UP PriorityTier=2
END
    slurmctld -c
    slurmd -N n1
    slurmd -N n2
    await 30 "two idle nodes" bash -c '[ "$(sinfo -h -N -p main -t idle -o %N | wc -l)" = 2 ]'
    await 30 accounting bash -c 'sacctmgr -nP show cluster format=cluster,controlhost | grep -q "smoke|127"'
}

run() { timeout 240 "$python" "$root/run.py" "$@" device=cpu data_dir="$top/data"; }
zsiqa() { timeout 60 "$python" -m zsiqa.cli.main "$@"; }
sweep() { # ARGUMENTS: the shards, as a job array
    run -m hydra/launcher=slurm hydra.launcher.partition=main hydra.launcher.gpus_per_node=null \
        hydra.launcher.cpus_per_task=1 hydra.launcher.mem_gb=4 hydra.launcher.timeout_min=30 \
        "${job[@]}" num_shards=3 'shard=range(3)' "$@"
}
entry() { grep -l "\"shard\": \[$1, 3\]" results/scores/demo/*.run; } # what the run of a shard says of itself
rows() { cat results/scores/demo/*/*.part 2> /dev/null | grep -c '^\[' || true; }
job=(backbone=efficientnet_lite0 'distance=[wsd,cosine]' dataset=demo)

bring_up
mkdir "$top/run"
cd "$top/run"
say "SLURM $(sinfo --version | cut -d' ' -f2) is up"
run dataset=demo baseline=psnr dataset.limit=1 results_dir=data > /dev/null 2>&1 || die "the photographs of the demo"
run "${job[@]}" results_dir=whole > "$top/whole.log" 2>&1 &
whole=$!

sweep > "$top/first.log" 2>&1 &
driver=$!
await 120 "scores of shard 0" bash -c 'cat results/scores/demo/*/*.part | grep -q "^\["'
await 60 "shard 1 at work" entry 1
sleep 2
id=$(squeue -h -o %F | head -n 1)
before=$(rows)
scancel "${id}_0"
kill -9 "$("$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["pid"])' "$(entry 1)")"
[ "$before" -gt 0 ] || die "nothing was written before the kill"
say "shard 0 cancelled, shard 1 killed, with $before scores stored"
! wait $driver || die "the driver of a sweep with lost jobs must not succeed"
await 60 "the end of the array" bash -c '[ -z "$(squeue -h)" ]'
[ "$(rows)" -ge "$before" ] || die "scores were lost"
sacct -X -n -P -j "$id" -o JobID,State,ExitCode | tee "$top/first.sacct"
grep -q "_0|CANCELLED" "$top/first.sacct" || die "shard 0 is not CANCELLED"
grep -q "_1|FAILED" "$top/first.sacct" || die "shard 1 is not FAILED"
zsiqa status "${job[@]}" num_shards=3 'shard=range(3)' && die "zsiqa status takes it for done"

sweep only_missing=true > "$top/second.log" 2>&1 &
driver=$!
before=$(rows)
more() { [ "$(rows)" -gt "$before" ] && entry 0 && entry 1; }
await 90 "more scores from the resumed array" more
tasks=($(squeue -h -r -t RUNNING -o %F_%K))
[ ${#tasks[@]} = 2 ] || die "two jobs should be at work: ${tasks[*]}"
say "SIGUSR2 to ${tasks[0]}; ${tasks[1]} is preempted"
scancel --signal=USR2 "${tasks[0]}"
sbatch --quiet --partition=urgent --nodelist="$(squeue -h -j "${tasks[1]}" -o %N)" --mem=1 -o /dev/null --wrap true
pending() { squeue -h -r -t PENDING -o %F_%K | sort; }
both() { [ "$(pending)" = "$(printf '%s\n' "${tasks[@]}" | sort)" ]; }
await 30 "their places in the queue" both
sleep 5 # at once, SLURM says that its credential was revoked
for task in "${tasks[@]}"; do scontrol update JobId="$task" StartTime=now; done # not in two minutes
wait $driver || die "the resumed sweep"
grep -q "done already: .*shard=2" "$top/second.log" || die "shard 2 was submitted again"
say "resumed"
wait $whole || die "the run in one process"
for metric in wsd cosine; do
    cmp {whole,results}/scores/demo/efficientnet_lite0-features-$metric/original.csv || die "scores differ"
done
[ -z "$(find results -name '*.part' -o -name '*.run')" ] || die "something was left: $(find results -name '*.part' -o -name '*.run')"
zsiqa status "${job[@]}" | tail -n 1

! run -m hydra/launcher=slurm hydra.launcher.partition=main hydra.launcher.gpus_per_node=null \
    hydra.launcher.cpus_per_task=1 hydra.launcher.mem_gb=1 hydra.launcher.timeout_min=20 \
    baseline=psnr dataset=tid2013 dataset.root=nowhere > "$top/third.log" 2>&1 || die "a sweep whose job fails must not succeed"
failed() { sacct -X -n -P -o JobID,State,ExitCode | tee "$top/third.sacct" | grep -q '^[0-9]*|FAILED|1:0'; }
await 20 "FAILED in accounting, $(sacct -X -n -P -o JobID,State,ExitCode | xargs)" failed
zsiqa status baseline=psnr dataset=tid2013 | tee "$top/third.status" || true
grep -q "failed.*nowhere" "$top/third.status" || die "zsiqa status does not say why"
say "passed: one array cancelled, killed, queued again and resumed; the scores are those of one process, bit for bit"
