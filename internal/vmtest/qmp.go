package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// qmp speaks the QEMU Machine Protocol, by which QEMU is asked and ordered.
type qmp struct {
	conn net.Conn
	dec  *json.Decoder
}

// qmpLimit is for one answer: QEMU gives them from memory.
const qmpLimit = 30 * time.Second

func dialQMP(path string) (*qmp, error) {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	q := &qmp{conn: conn, dec: json.NewDecoder(conn)}
	if err := q.do(nil, "qmp_capabilities", nil); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return q, nil
}

// do executes a command and stores its return value in result unless nil.
func (q *qmp) do(result any, command string, arguments any) error {
	if err := q.conn.SetDeadline(time.Now().Add(qmpLimit)); err != nil {
		return err
	}
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	if err := json.NewEncoder(q.conn).Encode(request); err != nil {
		return fmt.Errorf("qemu %s: %w", command, err)
	}
	for {
		var answer struct { // or a greeting or an event, which have neither
			Return json.RawMessage `json:"return"`
			Error  *struct {
				Desc string `json:"desc"`
			} `json:"error"`
		}
		if err := q.dec.Decode(&answer); err != nil {
			return fmt.Errorf("qemu %s: %w", command, err)
		}
		switch {
		case answer.Error != nil:
			return fmt.Errorf("qemu %s: %s", command, answer.Error.Desc)
		case answer.Return == nil:
		case result == nil:
			return nil
		default:
			return json.Unmarshal(answer.Return, result)
		}
	}
}

// running tells whether the guest executes. It does not when the accelerator
// met an instruction it cannot do.
func (q *qmp) running() error {
	var s struct {
		Status string `json:"status"`
	}
	if err := q.do(&s, "query-status", nil); err != nil {
		return err
	}
	if s.Status != "running" {
		return fmt.Errorf("the guest stopped: %s", s.Status)
	}
	return nil
}

func (q *qmp) monitor(line string) (answer string, err error) {
	err = q.do(&answer, "human-monitor-command", map[string]string{"command-line": line})
	return answer, err
}

// The screen in VGA text mode: 80 × 25 cells of a character and an attribute.
const (
	textAddress = 0xb8000
	textColumns = 80
	textRows    = 25
)

func (q *qmp) screen() (string, error) {
	dump, err := q.monitor(fmt.Sprintf("xp /%dxb %#x", 2*textColumns*textRows, textAddress))
	if err != nil {
		return "", err
	}
	return screenText(dump), nil
}

var hexByte = regexp.MustCompile(`0x[0-9a-f]{2}\b`)

// screenText reads the monitor's dump of text memory.
func screenText(dump string) string {
	var rows []string
	var row []byte
	n := 0
	for line := range strings.Lines(dump) {
		_, cells, _ := strings.Cut(line, ":")
		for _, h := range hexByte.FindAllString(cells, -1) {
			if n++; n%2 == 0 { // an attribute
				continue
			}
			c, _ := strconv.ParseUint(h, 0, 8) // matched, cannot fail
			if c < ' ' || c > '~' {
				c = ' '
			}
			if row = append(row, byte(c)); len(row) == textColumns {
				rows = append(rows, strings.TrimRight(string(row), " "))
				row = row[:0]
			}
		}
	}
	return strings.Join(append(rows, string(row)), "\n")
}

// keyNames are QEMU's of what is not a letter or digit (qapi: QKeyCode).
var keyNames = map[rune]string{'\n': "ret", ' ': "spc", '=': "equal", '.': "dot", '_': "shift-minus", '-': "minus", '/': "slash"}

func (q *qmp) typeKeys(text string) error {
	for _, r := range text {
		key, ok := keyNames[r]
		switch {
		case ok:
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			key = string(r)
		default:
			return fmt.Errorf("no key for %q", r)
		}
		// Held for some milliseconds; the keys queue up in QEMU.
		answer, err := q.monitor("sendkey " + key + " 20")
		if err != nil {
			return err
		}
		if answer != "" {
			return errors.New("qemu sendkey: " + strings.TrimSpace(answer))
		}
	}
	return nil
}
