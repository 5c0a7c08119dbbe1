package ipc

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxRights is what both kernels pass in one message: SCM_MAX_FD is 253 on
// Linux (include/net/scm.h), about 250 fit one mbuf cluster on FreeBSD
// (sys/kern/uipc_usrreq.c, unp_internalize).
const maxRights = 250

// oobSize is room for the largest set of rights either kernel delivers, so that
// MSG_CTRUNC is a sign of a hostile peer or of a full descriptor table.
var oobSize = unix.CmsgSpace(256*4) + unix.CmsgSpace(256)

// parseRights returns the descriptors in control data. The kernels lay the
// messages out whole, but nothing here trusts a length.
func parseRights(oob []byte) (fds []int, err error) {
	hdr := unix.CmsgLen(0)
	for len(oob) >= hdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(unsafe.SliceData(oob)))
		size := int(h.Len)
		if size < hdr || size > len(oob) {
			return fds, fmt.Errorf("%w: control message of %d bytes", errProtocol, size)
		}
		if h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_RIGHTS {
			for d := oob[hdr:size]; len(d) >= 4; d = d[4:] {
				fds = append(fds, int(int32(binary.NativeEndian.Uint32(d))))
			}
		}
		oob = oob[min(unix.CmsgSpace(size-hdr), len(oob)):]
	}
	return fds, nil
}

// rawFDs returns the numbers of files, which the caller keeps open and alive for
// as long as it uses them.
func rawFDs(files []*os.File) ([]int, error) {
	return mapFDs(files, func(fd uintptr) (int, error) { return int(fd), nil })
}

// dupFDs duplicates files; the duplicates are the caller's to close.
func dupFDs(files []*os.File) ([]int, error) {
	fds, err := mapFDs(files, dupFD)
	if err != nil {
		closeFDs(fds)
		return nil, err
	}
	return fds, nil
}

func dupFD(fd uintptr) (int, error) { return unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }

func mapFDs(files []*os.File, do func(uintptr) (int, error)) ([]int, error) {
	fds := make([]int, 0, len(files))
	for i, f := range files {
		rc, err := f.SyscallConn()
		if err == nil {
			cerr := rc.Control(func(old uintptr) {
				var fd int
				if fd, err = do(old); err == nil {
					fds = append(fds, fd)
				}
			})
			if cerr != nil {
				err = fs.ErrClosed // the only error it has, which os does not translate here
			}
		}
		if err != nil {
			return fds, fmt.Errorf("file %d of %d: %w", i+1, len(files), err)
		}
	}
	return fds, nil
}

// closeFDs closes received descriptors that nobody wants. There is nothing to
// be done about an error: the descriptor is gone either way (close(2)).
func closeFDs(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// closeFiles closes files of which nothing more is wanted; closing one twice
// is harmless.
func closeFiles(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

func filesOf(fds []int) []*os.File {
	if len(fds) == 0 {
		return nil
	}
	files := make([]*os.File, len(fds))
	for i, fd := range fds {
		files[i] = os.NewFile(uintptr(fd), "ipc")
	}
	return files
}

// Dup duplicates f with close-on-exec set. A handler that keeps a file longer
// than its call keeps a duplicate.
func Dup(f *os.File) (*os.File, error) {
	fds, err := dupFDs([]*os.File{f})
	if err != nil {
		return nil, fmt.Errorf("dup: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), f.Name()), nil
}
