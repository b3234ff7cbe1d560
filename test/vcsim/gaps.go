// What govmomi's simulator leaves undone in calls that it has, done beside it: with -complete.
package main

import (
	"strings"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// complete hooks into the registry: ports are kept, uplinks bear vCenter's own mark, clones get the notes of their
// spec. What is done is done before anybody reads it.
func complete(registry *simulator.Registry) {
	for _, entity := range registry.All("DistributedVirtualPortgroup") {
		group := entity.(*simulator.DistributedVirtualPortgroup)
		if strings.Contains(group.Name, "-DVUplinks-") {
			group.Tag = []types.Tag{{Key: "SYSTEM/DVS.UPLINKPG"}}
		}
	}
	ports := &portTable{ports: map[string]*port{}, next: 100}
	clones := &cloneNotes{notes: map[string]string{}}
	registry.Handler = func(ctx *simulator.Context, method *simulator.Method) (mo.Reference, types.BaseMethodFault) {
		switch method.Name {
		case "CloneVM_Task":
			clones.remember(method.Body.(*types.CloneVM_Task))
		case "RetrievePropertiesEx", "WaitForUpdatesEx", "FetchDVPorts", "ReconfigureDVPort_Task":
			ports.connect(ctx)
			clones.write(ctx)
		}
		dvs, ok := ctx.Map.Get(method.This).(*simulator.DistributedVirtualSwitch)
		if ok && ctx.Session != nil && ctx.Session.Registry.Get(method.This) == nil {
			// What a session knows is preferred to what the registry has, and to what is returned here.
			ctx.Session.Put(&distributedSwitch{dvs, ports})
		}
		return nil, nil
	}
}

// cloneNotes are the notes of clones that are being made, by the clone's name.
type cloneNotes struct {
	mutex sync.Mutex
	notes map[string]string
}

func (c *cloneNotes) remember(call *types.CloneVM_Task) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if call.Spec.Config != nil && call.Spec.Config.Annotation != "" {
		c.notes[call.Name] = call.Spec.Config.Annotation
	}
}

func (c *cloneNotes) write(ctx *simulator.Context) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if len(c.notes) == 0 {
		return
	}
	for _, entity := range ctx.Map.All("VirtualMachine") {
		vm := entity.(*simulator.VirtualMachine)
		notes, isNew := c.notes[vm.Name]
		if !isNew {
			continue
		}
		delete(c.notes, vm.Name)
		ctx.WithLock(vm, func() {
			// Not as an update: told late, it would undo one that came after it.
			if vm.Config.Annotation == "" {
				vm.Config.Annotation = notes
			}
		})
	}
}
