package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/ipc"
)

// channels are those of an engine, by path.
type channels struct {
	op     sync.Mutex // held while one is made or removed
	closed bool       // op's
	mu     sync.Mutex
	list   map[string]*channel
}

// channel is one of them. Nothing in it changes but served and err, which are
// the engine's channels.op's.
type channel struct {
	channelRecord
	served *served
	err    error // why it is not served
}

// channelRecord is what the database has of a channel.
type channelRecord struct {
	Path    string      `json:"-"`
	Mode    fs.FileMode `json:"mode"`
	Allow   []string    `json:"allow"`
	Created time.Time   `json:"created"`
	Made    bool        `json:"made"` // the directory is ours: it was made after this record
}

// channelLimits are those of each channel: who is on the other side is trusted
// with little.
var channelLimits = ipc.Limits{
	Body: 1 << 20, Files: 8, Calls: 64, Bytes: 4 << 20, Conns: 128, ConnsPerUser: 128, CallsPerUser: 256, FilesPerUser: 256, BytesPerUser: 8 << 20,
}

// CreateChannel implements api.Channels. The record comes first, so that what a
// crash leaves of it is served, or can be removed, by the next engine.
func (e *Engine) CreateChannel(ctx context.Context, spec api.ChannelSpec) (api.Channel, error) {
	if err := e.begin(); err != nil {
		return api.Channel{}, err
	}
	defer e.end()
	c, err := newChannel(spec)
	if err == nil {
		err = e.makeChannel(ctx, c)
	}
	if err != nil {
		return api.Channel{}, fmt.Errorf("create channel %s: %w", spec.Path, err)
	}
	return c.show(), nil
}

func (e *Engine) makeChannel(ctx context.Context, c *channel) error {
	e.channels.op.Lock()
	defer e.channels.op.Unlock()
	if e.channels.closed {
		return errClosed
	}
	if err := e.channels.room(c.Path); err != nil {
		return err
	}
	if err := e.recordChannel(ctx, c); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx) // from here on there is something to give back
	e.trace("channel recorded")
	err := makeChannelDir(c.Path)
	if err != nil {
		return errors.Join(err, e.db.RemoveChannel(ctx, c.Path))
	}
	e.trace("channel directory made")
	c.Made = true
	if err = e.recordChannel(ctx, c); err == nil {
		err = e.serveChannel(c)
	}
	if err != nil {
		return errors.Join(err, removeChannelDir(c.Path), e.db.RemoveChannel(ctx, c.Path))
	}
	e.channels.mu.Lock()
	e.channels.list[c.Path] = c
	e.channels.mu.Unlock()
	return nil
}

// ListChannels implements api.Channels.
func (e *Engine) ListChannels(context.Context) ([]api.Channel, error) {
	e.channels.mu.Lock()
	defer e.channels.mu.Unlock()
	list := []api.Channel{}
	for _, c := range e.channels.list {
		list = append(list, c.show())
	}
	slices.SortFunc(list, func(a, b api.Channel) int { return strings.Compare(a.Path, b.Path) })
	return list, nil
}

// RemoveChannel implements api.Channels. The record goes last.
func (e *Engine) RemoveChannel(ctx context.Context, path string) (string, error) {
	if err := e.begin(); err != nil {
		return "", err
	}
	defer e.end()
	e.channels.op.Lock()
	defer e.channels.op.Unlock()
	c, err := e.channels.find(path)
	if err != nil {
		return "", err
	}
	if c.served != nil {
		err = c.served.close()
		c.served = nil
	}
	e.trace("channel closed")
	if c.Made {
		err = errors.Join(err, removeChannelDir(c.Path))
	}
	if err != nil {
		return "", fmt.Errorf("remove channel %s: %w", c.Path, err)
	}
	e.trace("channel directory removed")
	if err := e.db.RemoveChannel(ctx, c.Path); err != nil {
		return "", err
	}
	e.channels.mu.Lock()
	delete(e.channels.list, c.Path)
	e.channels.mu.Unlock()
	return c.Path, nil
}

// openChannels serves the channels that are recorded. One that cannot be served
// says why when it is listed, and can be removed.
func (e *Engine) openChannels(ctx context.Context) error {
	records, err := e.db.Channels(ctx)
	if err != nil {
		return err
	}
	e.channels.op.Lock()
	defer e.channels.op.Unlock()
	e.channels.mu.Lock()
	defer e.channels.mu.Unlock()
	for path, text := range records {
		c := &channel{}
		err := json.Unmarshal(text, &c.channelRecord)
		c.Path = path
		if err == nil {
			err = e.resumeChannel(ctx, c)
		}
		if err != nil {
			c.err = err
			e.cfg.Report(fmt.Errorf("channel %s is not served: %w", path, err))
		}
		e.channels.list[path] = c
	}
	return nil
}

// resumeChannel serves a channel of an earlier engine. Its directory may be gone,
// as after a reboot, or not be made yet.
func (e *Engine) resumeChannel(ctx context.Context, c *channel) error {
	err := makeChannelDir(c.Path)
	if errors.Is(err, fs.ErrExist) {
		err = ownChannelDir(c.Path, c.Made)
	}
	if err == nil && !c.Made {
		c.Made = true
		err = e.recordChannel(ctx, c)
	}
	if err == nil {
		err = e.serveChannel(c)
	}
	return err
}

func (e *Engine) recordChannel(ctx context.Context, c *channel) error {
	b, err := json.Marshal(c.channelRecord)
	if err != nil {
		return err
	}
	return e.db.PutChannel(ctx, c.Path, b)
}

// closeChannels ends all connections, which cancels what is running.
func (e *Engine) closeChannels() error {
	e.channels.op.Lock()
	defer e.channels.op.Unlock()
	e.channels.closed = true
	var errs []error
	for _, c := range e.channels.list {
		if c.served != nil {
			errs = append(errs, c.served.close())
			c.served = nil
		}
	}
	return errors.Join(errs...)
}

// served is a channel that answers.
type served struct {
	socket *channelSocket
	cancel context.CancelFunc
	done   chan struct{}
}

// serveChannel answers on a channel. Who can connect may call what the channel
// allows: neither its user nor where it lives matters, for the socket was given
// to it. On the main socket it is the other way round.
func (e *Engine) serveChannel(c *channel) error {
	socket, err := listenInChannel(c.Path, e.db.Tag(), c.Mode)
	if err != nil {
		return err
	}
	s := &ipc.Server{
		Handler: api.EngineHandler(e),
		Allow: func(_ ipc.Peer, method string) error {
			if slices.Contains(c.Allow, method) {
				return nil
			}
			return fmt.Errorf("this channel does not allow it: %w", fs.ErrPermission)
		},
		Panic: func(method string, value any, stack []byte) {
			e.cfg.Report(fmt.Errorf("channel %s: %s panicked: %v\n%s", c.Path, method, value, stack))
		},
		Limits: channelLimits,
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.served = &served{socket, cancel, make(chan struct{})}
	go func(done chan struct{}) {
		defer close(done)
		if err := s.Serve(ctx, socket); !errors.Is(err, context.Canceled) {
			e.cfg.Report(fmt.Errorf("channel %s is not served any more: %w", c.Path, err))
		}
	}(c.served.done)
	return nil
}

// close returns when all that was called has returned.
func (s *served) close() error {
	s.cancel()
	<-s.done
	return s.socket.Close()
}

func newChannel(spec api.ChannelSpec) (*channel, error) {
	path, err := channelPath(spec.Path)
	spec.Path = path
	if err = errors.Join(err, ipc.CheckText(spec)); err != nil {
		return nil, err
	}
	mode, err := channelMode(spec.Mode)
	if err != nil {
		return nil, err
	}
	allow, err := channelMethods(spec.Allow)
	if err != nil {
		return nil, err
	}
	return &channel{channelRecord: channelRecord{Path: path, Mode: mode, Allow: allow, Created: time.Now().UTC()}}, nil
}

func channelMode(s string) (fs.FileMode, error) {
	if s == "" {
		return 0o600, nil
	}
	mode, err := strconv.ParseUint(s, 8, 32)
	if err != nil || mode == 0 || mode > 0o777 {
		return 0, fmt.Errorf("mode %q: expected permissions in octal, as 0660: %w", s, fs.ErrInvalid)
	}
	return fs.FileMode(mode), nil
}

// channelMethods returns the methods that patterns name. Those that come with a
// newer engine are not among them. Nobody makes channels through a channel: it
// could allow itself everything.
func channelMethods(patterns []string) ([]string, error) {
	if len(patterns) == 0 {
		return api.ChannelDefaults(), nil
	}
	var list []string
	for _, p := range patterns {
		group, whole := strings.CutSuffix(p, "*")
		n := len(list)
		for _, m := range api.EngineMethods() {
			if m == p || whole && strings.HasSuffix(group, ".") && strings.HasPrefix(m, group) {
				list = append(list, m)
			}
		}
		if len(list) == n {
			return nil, fmt.Errorf("%q is no method and no group of methods: %w", p, fs.ErrInvalid)
		}
		if strings.HasPrefix(list[n], "Channels.") {
			return nil, fmt.Errorf("%s cannot be allowed on a channel: %w", p, fs.ErrInvalid)
		}
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

// find returns a channel by its path, or by another path to it.
func (cs *channels) find(path string) (*channel, error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c, ok := cs.list[filepath.Clean(path)]; ok {
		return c, nil
	}
	if real, err := channelPath(path); err == nil {
		if c, ok := cs.list[real]; ok {
			return c, nil
		}
	}
	return nil, fmt.Errorf("channel %s: %w", path, fs.ErrNotExist)
}

// room tells whether a path is neither a channel's nor inside of one, which
// belongs to who is on the other side.
func (cs *channels) room(path string) error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for other := range cs.list {
		if path == other || strings.HasPrefix(path, other+"/") {
			return fmt.Errorf("%s is a channel: %w", other, fs.ErrExist)
		}
	}
	return nil
}

func (c *channel) show() api.Channel {
	shown := api.Channel{
		Path: c.Path, Socket: filepath.Join(c.Path, api.ChannelSocket), Mode: fmt.Sprintf("%04o", c.Mode),
		Allow: slices.Clone(c.Allow), Created: c.Created,
	}
	if c.err != nil {
		shown.Error = c.err.Error()
	}
	return shown
}
