package ocitar

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// cstring is a header field up to its first NUL.
func cstring(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// number reads a numeric field: octal with blanks around it, or base-256 (the
// first bit set, the second the sign), which GNU tar and star use for what octal
// has no room for.
func number(b []byte) (int64, error) {
	if b[0]&0x80 == 0 {
		s := strings.Trim(cstring(b), " ")
		if s == "" {
			return 0, nil
		}
		n, err := strconv.ParseUint(s, 8, 63)
		if err != nil {
			return 0, fmt.Errorf("octal number %q: %w", s, ErrFormat)
		}
		return int64(n), nil
	}
	inv := byte(0)
	if b[0]&0x40 != 0 {
		inv = 0xff
	}
	var n uint64
	for i, c := range b {
		c ^= inv
		if i == 0 {
			c &= 0x7f
		}
		if n>>55 != 0 {
			return 0, fmt.Errorf("base-256 number beyond 63 bits: %w", ErrFormat)
		}
		n = n<<8 | uint64(c)
	}
	if inv != 0 {
		return ^int64(n), nil
	}
	return int64(n), nil
}

// putNumber writes n as octal, zero-padded, NUL-terminated, and reports whether it fits.
func putNumber(b []byte, n int64) bool {
	digits := len(b) - 1
	if n < 0 || digits*3 < 63 && n>>(uint(digits)*3) != 0 {
		return false
	}
	for i := digits - 1; i >= 0; i-- {
		b[i] = byte('0' + n&7)
		n >>= 3
	}
	b[digits] = 0
	return true
}

// parseTime reads the seconds of a pax header: decimal, maybe negative, with a
// fraction of any length, of which nanoseconds are kept (cut, as time never rounds up).
func parseTime(s string) (time.Time, error) {
	bad := fmt.Errorf("time %.40q: %w", s, ErrFormat)
	whole, frac, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || sec > math.MaxInt64/2 || sec < math.MinInt64/2 {
		return time.Time{}, bad
	}
	if strings.Trim(frac, "0123456789") != "" {
		return time.Time{}, bad
	}
	nsec, err := strconv.ParseInt((frac + "000000000")[:9], 10, 64)
	if err != nil {
		return time.Time{}, bad
	}
	if strings.HasPrefix(whole, "-") {
		nsec = -nsec
	}
	return time.Unix(sec, nsec).UTC(), nil
}

// formatTime is the reverse of parseTime, without needless digits.
func formatTime(t time.Time) string {
	sec, nsec := t.Unix(), int64(t.Nanosecond())
	if nsec == 0 {
		return strconv.FormatInt(sec, 10)
	}
	sign := ""
	if sec < 0 {
		sign, sec, nsec = "-", -(sec + 1), 1e9-nsec
	}
	return strings.TrimRight(fmt.Sprintf("%s%d.%09d", sign, sec, nsec), "0")
}
