# The guest's side of vmtest: agent.sh DISK CHANNEL DIR
#
# Lines on CHANNEL order runs: "run ID BLOCKS" unpacks the tar archive at the
# head of DISK (BLOCKS of 64 KiB) and runs its script "run", whose output goes
# back between two lines only this run can have: "^ID start" and "^ID exit N",
# where ^ is the byte 036. The device is a tty: raw, it carries any byte.
LC_ALL=C disk=$1 dir=$3disk=$1 dir=$3 export LC_ALL
disk=$1 dir=$3 cat=0
exec 3<>"$2" || exit 1
stty raw -echo <&3 || exit 1
mkdir -p "$dir" && cd "$dir" || exit 1
printf '\036agent ready\n' >&3

while read -r word id blocks <&3; do
	[ "$word" = run ] || continue
	printf '\036%s start\n' "$id" >&3
	# What an earlier run left mounted here is not ours to empty: -xdev.
	[ ! -d work ] || find work -xdev -delete 2>/dev/null
	rm -f output
	mkdir -p work && mkfifo output || continue
	# Through a pipe, so that tests see no terminal; and named, so that a
	# process a test left behind holds cat, not us, until the next job.
	# (By now its number may be another's: kill it as our child only.)
	[ "$(ps -o ppid= -p "$cat" 2>/dev/null || echo 0)" -ne $$ ] || kill "$cat"
	cat output >&3 &
	cat=$!
	{
		if unpacked=$(dd if="$disk" bs=65536 count="$blocks" 2>/dev/null | tar -xpf - -C work 2>&1); then
			sh work/run
		else
			echo "vmtest: guest: cannot unpack the test's files: $unpacked" && false
		fi
		printf '\036%s exit %d\n' "$id" $?
	} >output 2>&1 </dev/null
done
