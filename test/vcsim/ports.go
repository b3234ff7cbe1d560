// Ports of distributed switches, which govmomi's simulator makes up anew for every question and cannot reconfigure:
// each NIC gets a port of its own with a key, a version and settings that override those of its port group.
package main

import (
	"slices"
	"strconv"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// port is what is kept of one: everything else follows from the NIC that is behind it.
type port struct {
	vm      types.ManagedObjectReference
	vlan    types.BaseVmwareDistributedVirtualSwitchVlanSpec
	teaming *types.VmwareUplinkPortTeamingPolicy
	version int
}

// nic is a network card on a port.
type nic struct {
	vm      *simulator.VirtualMachine
	card    *types.VirtualEthernetCard
	backing *types.VirtualEthernetCardDistributedVirtualPortBackingInfo
}

type portTable struct {
	mutex sync.Mutex
	ports map[string]*port
	next  int
}

// connect gives every NIC on a distributed port group a port, and forgets ports that no NIC is on any more.
func (t *portTable) connect(ctx *simulator.Context) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	used := map[string]bool{}
	for _, entity := range ctx.Map.All("VirtualMachine") {
		vm := entity.(*simulator.VirtualMachine)
		ctx.WithLock(vm, func() {
			isChanged := false
			for _, one := range nicsOf(vm) {
				key := one.backing.Port.PortKey
				// A clone of the simulator comes with the key of its source.
				if kept := t.ports[key]; kept == nil || kept.vm != vm.Self {
					key = strconv.Itoa(t.next)
					t.next++
					backing := *one.backing
					backing.Port.PortKey = key
					one.card.Backing = &backing
					t.ports[key] = &port{vm: vm.Self}
					isChanged = true
				}
				used[key] = true
			}
			if isChanged {
				devices := slices.Clone(vm.Config.Hardware.Device)
				ctx.Update(vm, []types.PropertyChange{{Name: "config.hardware.device", Val: devices}})
			}
		})
	}
	for key := range t.ports {
		if !used[key] {
			delete(t.ports, key)
		}
	}
}

func nicsOf(vm *simulator.VirtualMachine) []nic {
	var found []nic
	if vm.Config == nil {
		return nil
	}
	for _, device := range vm.Config.Hardware.Device {
		if card, ok := device.(types.BaseVirtualEthernetCard); ok {
			one := card.GetVirtualEthernetCard()
			if backing, ok := one.Backing.(*types.VirtualEthernetCardDistributedVirtualPortBackingInfo); ok {
				found = append(found, nic{vm, one, backing})
			}
		}
	}
	return found
}

// distributedSwitch is a switch of the simulator with ports that are kept.
type distributedSwitch struct {
	*simulator.DistributedVirtualSwitch
	table *portTable
}

func (s *distributedSwitch) FetchDVPorts(ctx *simulator.Context, req *types.FetchDVPorts) soap.HasFault {
	s.table.mutex.Lock()
	defer s.table.mutex.Unlock()
	criteria := types.DistributedVirtualSwitchPortCriteria{}
	if req.Criteria != nil {
		criteria = *req.Criteria
	}
	var found []types.DistributedVirtualPort
	for _, entity := range ctx.Map.All("VirtualMachine") {
		for _, one := range nicsOf(entity.(*simulator.VirtualMachine)) {
			if one.backing.Port.SwitchUuid == s.Uuid && matches(one, criteria) {
				if shown := s.show(ctx, one); shown != nil {
					found = append(found, *shown)
				}
			}
		}
	}
	return &methods.FetchDVPortsBody{Res: &types.FetchDVPortsResponse{Returnval: found}}
}

func matches(one nic, criteria types.DistributedVirtualSwitchPortCriteria) bool {
	connection := one.backing.Port
	if criteria.Connected != nil && !*criteria.Connected {
		return false // Only ports that a NIC is on are kept.
	}
	isInside := criteria.Inside == nil || *criteria.Inside
	if len(criteria.PortgroupKey) > 0 && slices.Contains(criteria.PortgroupKey, connection.PortgroupKey) != isInside {
		return false
	}
	if len(criteria.PortKey) > 0 && !slices.Contains(criteria.PortKey, connection.PortKey) {
		return false
	}
	if len(criteria.Host) > 0 && (one.vm.Runtime.Host == nil || !slices.Contains(criteria.Host, *one.vm.Runtime.Host)) {
		return false
	}
	return true
}

func (s *distributedSwitch) show(ctx *simulator.Context, one nic) *types.DistributedVirtualPort {
	connection := one.backing.Port
	kept := s.table.ports[connection.PortKey]
	group := portGroup(ctx, connection.PortgroupKey)
	if kept == nil || group == nil {
		return nil
	}
	setting := types.VMwareDVSPortSetting{}
	if of, ok := group.Config.DefaultPortConfig.(*types.VMwareDVSPortSetting); ok {
		setting = *of
	}
	setting.Vlan = inheritedVlan(setting.Vlan)
	if setting.UplinkTeamingPolicy != nil {
		teaming := *setting.UplinkTeamingPolicy
		teaming.Inherited = true
		setting.UplinkTeamingPolicy = &teaming
	}
	if kept.vlan != nil {
		setting.Vlan = kept.vlan
	}
	if kept.teaming != nil {
		setting.UplinkTeamingPolicy = kept.teaming
	}
	vm := one.vm.Reference()
	return &types.DistributedVirtualPort{
		Key:          connection.PortKey,
		DvsUuid:      s.Uuid,
		PortgroupKey: connection.PortgroupKey,
		ProxyHost:    one.vm.Runtime.Host,
		Config:       types.DVPortConfigInfo{Setting: &setting, ConfigVersion: strconv.Itoa(kept.version)},
		Connectee: &types.DistributedVirtualSwitchPortConnectee{
			ConnectedEntity: &vm,
			NicKey:          strconv.Itoa(int(one.card.Key)),
			Type:            string(types.DistributedVirtualSwitchPortConnecteeConnecteeTypeVmVnic),
		},
	}
}

// inheritedVlan is the VLAN of a port group as its ports show it.
func inheritedVlan(vlan types.BaseVmwareDistributedVirtualSwitchVlanSpec) types.BaseVmwareDistributedVirtualSwitchVlanSpec {
	switch of := vlan.(type) {
	case *types.VmwareDistributedVirtualSwitchVlanIdSpec:
		shown := *of
		shown.Inherited = true
		return &shown
	case *types.VmwareDistributedVirtualSwitchTrunkVlanSpec:
		shown := *of
		shown.Inherited = true
		return &shown
	case *types.VmwareDistributedVirtualSwitchPvlanSpec:
		shown := *of
		shown.Inherited = true
		return &shown
	}
	return vlan
}

// ReconfigureDVPortTask changes all ports or, where one of them cannot be changed, none.
func (s *distributedSwitch) ReconfigureDVPortTask(ctx *simulator.Context, req *types.ReconfigureDVPort_Task) soap.HasFault {
	task := simulator.CreateTask(s.DistributedVirtualSwitch, "reconfigurePort", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		s.table.mutex.Lock()
		defer s.table.mutex.Unlock()
		for _, spec := range req.Port {
			if fault := s.refusal(ctx, spec); fault != nil {
				return nil, fault
			}
		}
		for _, spec := range req.Port {
			kept := s.table.ports[spec.Key]
			kept.version++
			setting, ok := spec.Setting.(*types.VMwareDVSPortSetting)
			if !ok {
				continue
			}
			if setting.Vlan != nil {
				kept.vlan = setting.Vlan
				if setting.Vlan.GetVmwareDistributedVirtualSwitchVlanSpec().Inherited {
					kept.vlan = nil
				}
			}
			if setting.UplinkTeamingPolicy != nil {
				kept.teaming = setting.UplinkTeamingPolicy
				if setting.UplinkTeamingPolicy.Inherited {
					kept.teaming = nil
				}
			}
		}
		return nil, nil
	})
	return &methods.ReconfigureDVPort_TaskBody{
		Res: &types.ReconfigureDVPort_TaskResponse{Returnval: task.Run(ctx)},
	}
}

// refusal is the fault of a change that vCenter does not make; nil where it makes it.
func (s *distributedSwitch) refusal(ctx *simulator.Context, spec types.DVPortConfigSpec) types.BaseMethodFault {
	if spec.Operation != string(types.ConfigSpecOperationEdit) {
		return &types.NotSupported{}
	}
	kept := s.table.ports[spec.Key]
	if kept == nil {
		return &types.NotFound{}
	}
	if spec.ConfigVersion != "" && spec.ConfigVersion != strconv.Itoa(kept.version) {
		return &types.ConcurrentAccess{}
	}
	setting, ok := spec.Setting.(*types.VMwareDVSPortSetting)
	if !ok {
		return nil
	}
	policy := types.VMwareDVSPortgroupPolicy{}
	if group := s.groupOf(ctx, spec.Key); group != nil {
		if of, ok := group.Config.Policy.(*types.VMwareDVSPortgroupPolicy); ok {
			policy = *of
		}
	}
	overridesVlan := setting.Vlan != nil && !setting.Vlan.GetVmwareDistributedVirtualSwitchVlanSpec().Inherited
	overridesTeaming := setting.UplinkTeamingPolicy != nil && !setting.UplinkTeamingPolicy.Inherited
	if overridesVlan && !policy.VlanOverrideAllowed || overridesTeaming && !policy.UplinkTeamingOverrideAllowed {
		return &types.DvsFault{}
	}
	return nil
}

func (s *distributedSwitch) groupOf(ctx *simulator.Context, key string) *simulator.DistributedVirtualPortgroup {
	for _, entity := range ctx.Map.All("VirtualMachine") {
		for _, one := range nicsOf(entity.(*simulator.VirtualMachine)) {
			if one.backing.Port.PortKey == key {
				return portGroup(ctx, one.backing.Port.PortgroupKey)
			}
		}
	}
	return nil
}

func portGroup(ctx *simulator.Context, key string) *simulator.DistributedVirtualPortgroup {
	ref := types.ManagedObjectReference{Type: "DistributedVirtualPortgroup", Value: key}
	group, _ := ctx.Map.Get(ref).(*simulator.DistributedVirtualPortgroup)
	return group
}
