// Package logfile keeps the output of a container in files: a [Writer] that
// rotates them and never gets in the way of the container, and [Read], which
// finds, filters and follows what was written.
//
// A log is the file PATH and its older generations PATH.1, PATH.2 and so on.
// Each line of it is a record, a JSON object, made to be read with grep(1):
//
//	{"t":"2026-01-02T15:04:05.000000006Z","s":"o","d":"hello\n"}
//
// t is the time of the write, s the stream ("o" stdout, "e" stderr, "x" a
// note of the writer's own) and d the data: a line of output, or a part of
// one when it was written in parts. Data that is not UTF-8 is in b, in
// base64, instead.
//
//	w := &logfile.Writer{Path: "/var/log/c1.log", MaxBytes: 10 << 20, MaxFiles: 3}
//	w.Write(logfile.Stdout, time.Now(), []byte("hello\n"))
//	...
//	err := logfile.Read(ctx, "/var/log/c1.log", logfile.Query{}, func(r logfile.Record) error {
//		_, err := os.Stdout.Write(r.Data)
//		return err
//	})
package logfile

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"time"
	"unicode/utf8"
)

// Stream tells where a record comes from.
type Stream byte

// Streams.
const (
	Stdout Stream = 'o'
	Stderr Stream = 'e'
	Note   Stream = 'x' // of the writer: what was not logged, and why
)

// Record is a piece of output.
type Record struct {
	Time   time.Time
	Stream Stream
	Data   []byte // as written; a line ends with '\n'
}

// maxLine bounds a line of the file, in bytes: what is longer is garbage. A
// record of one read of a pipe, all of it escaped, is about 200 KiB.
const maxLine = 1 << 20

// appendRecords appends the records of p, one for each line.
func appendRecords(b []byte, s Stream, at time.Time, p []byte) []byte {
	for line := range bytes.Lines(p) {
		b = append(b, `{"t":"`...)
		b = at.UTC().AppendFormat(b, time.RFC3339Nano)
		b = append(b, `","s":"`...)
		b = append(b, byte(s))
		if utf8.Valid(line) {
			b = append(b, `","d":"`...)
			b = appendEscaped(b, line)
		} else {
			b = append(b, `","b":"`...)
			b = base64.StdEncoding.AppendEncode(b, line)
		}
		b = append(b, "\"}\n"...)
	}
	return b
}

// appendEscaped appends valid UTF-8 as the inside of a JSON string (RFC 8259,
// section 7). Unlike encoding/json it leaves <, > and & to grep.
func appendEscaped(b, p []byte) []byte {
	const hex = "0123456789abcdef"
	for _, c := range p {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\t':
			b = append(b, '\\', 't')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return b
}

// parse decodes a line of a log file. What is not a record (torn by a crash
// or a full disk, or foreign) is not ok.
func parse(line []byte) (r Record, ok bool) {
	var l struct {
		T time.Time
		S string
		D string
		B []byte
	}
	if json.Unmarshal(line, &l) != nil || len(l.S) != 1 || l.T.IsZero() {
		return Record{}, false
	}
	if l.B == nil {
		l.B = []byte(l.D)
	}
	return Record{Time: l.T, Stream: Stream(l.S[0]), Data: l.B}, true
}
