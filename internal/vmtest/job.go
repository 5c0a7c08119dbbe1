package main

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

const (
	guestDir = "/var/vmtest" // the agent's directory
	guestOut = guestDir + "/out"
	block    = 64 << 10 // bytes, as in agent.sh
	diskSize = 1 << 30  // bytes, of the disk that carries jobs
)

// job is what the agent runs.
type job struct {
	script string
	binary string // "" for a script alone
	dir    string // the package's, whose testdata goes along
}

// outFile is what a test writes in the guest for its caller on the host.
type outFile struct {
	guest string // absolute
	host  string // absolute
	dir   bool
}

// outFlags are the flags of a test binary that name what it writes.
var outFlags = map[string]bool{ // to whether it is a directory
	"coverprofile": false, "cpuprofile": false, "memprofile": false, "blockprofile": false,
	"mutexprofile": false, "trace": false, "gocoverdir": true,
}

// rewrite points flags that name files at ones in the guest. The log of what
// the test read is dropped, and with it go test's caching of the result: its
// record of files and variables is about the host, the test is not.
func rewrite(args []string, cwd string) (rewritten []string, files []outFile) {
	outputDir := cwd
	for _, a := range args {
		if dir, ok := strings.CutPrefix(a, "-test.outputdir="); ok {
			outputDir = dir
		}
	}
	for i, a := range args {
		name, value, _ := strings.Cut(strings.TrimPrefix(a, "-test."), "=")
		if a == "--" || a == "-" || !strings.HasPrefix(a, "-") { // the test's own arguments
			return append(rewritten, args[i:]...), files
		}
		dir, isOut := outFlags[name]
		switch {
		case !strings.HasPrefix(a, "-test."):
			rewritten = append(rewritten, a)
		case name == "testlogfile" || name == "outputdir":
		case isOut && value != "":
			f := outFile{guest: fmt.Sprintf("%s/%s", guestOut, name), host: value, dir: dir}
			if !filepath.IsAbs(value) {
				f.host = filepath.Join(outputDir, value)
			}
			files = append(files, f)
			rewritten = append(rewritten, "-test."+name+"="+f.guest)
		default:
			rewritten = append(rewritten, a)
		}
	}
	return rewritten, files
}

// grace is how much longer than its own limit a test may take before the guest
// counts as hung: less than the minute after which go test kills its wrapper.
const grace = 40 * time.Second

// timeLimit is that of -test.timeout and grace; 0 is none.
func timeLimit(args []string) time.Duration {
	for _, a := range args {
		if v, ok := strings.CutPrefix(a, "-test.timeout="); ok {
			if d, err := time.ParseDuration(v); err == nil && d > 0 {
				return d + grace
			}
		}
	}
	return 0
}

// script is the job of a test: in the guest's copy of the package's directory,
// with a clean environment.
func script(dir, binary string, args, env []string, files []outFile) string {
	var b strings.Builder
	fmt.Fprintf(&b, "cd %s || exit %d\n", quote(guestDir+"/work/"+dir), exitTrouble)
	fmt.Fprintf(&b, "rm -rf %s && mkdir %[1]s || exit %d\n", guestOut, exitTrouble)
	for _, f := range files {
		if f.dir {
			fmt.Fprintf(&b, "mkdir %s || exit %d\n", quote(f.guest), exitTrouble)
		}
	}
	b.WriteString("exec env -i HOME=/root USER=root LOGNAME=root SHELL=/bin/sh TMPDIR=/tmp TERM=dumb \\\n" +
		"\tPATH=/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin \"PWD=$PWD\"")
	for _, kv := range env {
		b.WriteString(" \\\n\t" + quote(kv))
	}
	b.WriteString(" \\\n\t" + quote(guestDir+"/work/"+binary))
	for _, a := range args {
		b.WriteString(" \\\n\t" + quote(a))
	}
	b.WriteString("\n")
	return b.String()
}

// quote makes s one word of sh(1).
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// write writes the job's archive, padded to whole blocks, and tells their number.
func (j job) write(disk io.WriterAt) (blocks int64, err error) {
	w := io.NewOffsetWriter(disk, 0)
	t := tar.NewWriter(w)
	if err := addBytes(t, "run", 0o644, []byte(j.script)); err != nil {
		return 0, err
	}
	if j.binary != "" {
		if err := addFile(t, filepath.Base(j.binary), j.binary); err != nil {
			return 0, err
		}
		base := filepath.Base(j.dir)
		if err := addFile(t, base, j.dir); err != nil {
			return 0, err
		}
		if err := addTree(t, path.Join(base, "testdata"), filepath.Join(j.dir, "testdata")); err != nil {
			return 0, err
		}
	}
	if err := t.Close(); err != nil {
		return 0, err
	}
	size, err := w.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	blocks = (size + block - 1) / block
	if blocks*block > diskSize {
		return 0, fmt.Errorf("the test's files have %d bytes, at most %d fit", size, diskSize)
	}
	_, err = w.Write(make([]byte, blocks*block-size))
	return blocks, err
}

func addBytes(t *tar.Writer, name string, mode int64, data []byte) error {
	if err := t.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(data)), ModTime: time.Now()}); err != nil {
		return err
	}
	_, err := t.Write(data)
	return err
}

func addTree(t *tar.Writer, name, root string) error {
	return filepath.WalkDir(root, func(p string, _ fs.DirEntry, err error) error {
		if p == root && os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		return addFile(t, path.Join(name, filepath.ToSlash(rel)), p)
	})
}

// addFile adds a file, link or directory (without its content), owned by root.
func addFile(t *tar.Writer, name, file string) error {
	st, err := os.Lstat(file)
	if err != nil {
		return err
	}
	var link string
	switch {
	case st.Mode()&fs.ModeSymlink != 0:
		if link, err = os.Readlink(file); err != nil {
			return err
		}
	case !st.Mode().IsRegular() && !st.IsDir():
		return fmt.Errorf("%s: neither file, link nor directory", file)
	}
	h, err := tar.FileInfoHeader(st, link)
	if err != nil {
		return err
	}
	if st.IsDir() {
		name += "/"
	}
	// As bytes: in GNU's format tar(1) takes names as they are in any locale.
	h.Format = tar.FormatGNU
	h.Name, h.Uid, h.Gid, h.Uname, h.Gname = name, 0, 0, "", ""
	if err := t.WriteHeader(h); err != nil || !st.Mode().IsRegular() {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(t, f)
	return err
}

// unpack stores an archive of guestOut at the places the caller named.
func unpack(r io.Reader, files []outFile) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		name := path.Join(guestOut, path.Clean("/"+h.Name))
		for _, f := range files {
			host := f.host
			if rest, ok := strings.CutPrefix(name, f.guest+"/"); ok && f.dir {
				host = filepath.Join(f.host, filepath.FromSlash(rest))
			} else if name != f.guest {
				continue
			}
			if err := store(host, t); err != nil {
				return err
			}
		}
	}
}

func store(name string, r io.Reader) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, r); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
