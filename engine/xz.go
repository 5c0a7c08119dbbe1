package engine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// xzMagic begins a file of xz(1) (The .xz File Format, 2.1.1.1).
const xzMagic = "\xfd7zXZ\x00"

// nobody is whom the decompressor runs as.
const nobody = 65534

// plain is an archive as it is, or, if it is compressed with xz, as FreeBSD's
// sets are, through the system's xz(1): a process that has nothing but its two
// pipes, since what it reads is anybody's. Ending ctx, and then closing the
// archive, ends it.
func plain(ctx context.Context, archive io.Reader) (io.Reader, error) {
	in := bufio.NewReaderSize(archive, 64<<10)
	magic, _ := in.Peek(len(xzMagic))
	if string(magic) != xzMagic { // or could not be read, which is told when it is
		return in, nil
	}
	path, err := exec.LookPath("xz")
	if err != nil {
		return nil, fmt.Errorf("the archive is compressed with xz, which this host cannot undo: %w", err)
	}
	x := &unxz{cmd: exec.CommandContext(ctx, path, "-dc", "--memlimit-decompress=512MiB")}
	x.cmd.Stdin, x.cmd.Stderr, x.cmd.Env, x.cmd.Dir = in, &x.errs, []string{}, "/"
	x.cmd.WaitDelay = time.Second
	if os.Geteuid() == 0 {
		x.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody, NoSetGroups: false}}
	}
	if x.out, err = x.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := x.cmd.Start(); err != nil {
		return nil, fmt.Errorf("decompress archive: %w", err)
	}
	return x, nil
}

// unxz reads what xz writes. The end is reached when xz says that all was well.
type unxz struct {
	cmd  *exec.Cmd
	out  io.Reader
	errs bytes.Buffer
	end  error // once it was reached
}

func (x *unxz) Read(p []byte) (int, error) {
	if x.end != nil {
		return 0, x.end
	}
	n, err := x.out.Read(p)
	if err == nil {
		return n, nil
	}
	x.end = err
	waitErr := x.cmd.Wait()
	if errors.Is(err, io.EOF) && waitErr != nil {
		x.end = fmt.Errorf("decompress archive: %w: %.200s", waitErr, bytes.TrimSpace(x.errs.Bytes()))
	}
	return n, x.end
}

// stop ends xz where its output was not read to the end.
func stop(r io.Reader) {
	if x, ok := r.(*unxz); ok && x.end == nil {
		_ = x.cmd.Process.Kill() // it may have ended
		_ = x.cmd.Wait()         // it was killed
	}
}
