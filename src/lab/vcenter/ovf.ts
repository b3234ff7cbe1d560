/** Reads an OVF descriptor as far as the lab can import one: a single virtual system with disks, NICs, properties. */
import { VimFault } from './wire/fault.ts';
import { childOf, parseXml, type XmlElement, XmlError } from './wire/xml.ts';

const OVF = 'http://schemas.dmtf.org/ovf/envelope/1';
const MAX_DESCRIPTOR = 1 << 20;
const ETHERNET = '10';
const DISK = '17';

export interface OvfDescriptor {
  name: string;
  networks: { name: string; description: string }[];
  files: { id: string; href: string; size: number }[];
  disks: { diskId: string; fileRef: string; capacityBytes: number }[];
  /** Network of each NIC, in the order of the hardware. */
  nics: string[];
  /** Disk of each virtual disk, in the order of the hardware. */
  hardwareDisks: string[];
  options: { id: string; label: string; description: string; isDefault: boolean }[];
  properties: OvfProperty[];
  product: { name: string; vendor: string; version: string };
}

export interface OvfProperty {
  key: string;
  classId: string;
  instanceId: string;
  type: string;
  label: string;
  isUserConfigurable: boolean;
  isPassword: boolean;
  defaultValue: string;
  minLength: number;
}

/** Reads a descriptor for one of its deployment options. Throws OvfInvalidPackage and its like. */
export function readDescriptor(text: string, option: string): OvfDescriptor {
  if (text.length > MAX_DESCRIPTOR) throw invalid('the descriptor is larger than 1 MB');
  let root: XmlElement;
  try {
    root = parseXml(text.trimStart());
  } catch (error) {
    if (error instanceof XmlError) throw invalid(`the descriptor is no XML: ${error.message}`);
    throw error;
  }
  if (root.name !== 'Envelope' || root.namespace !== OVF)
    throw invalid('the descriptor is no OVF 1.x envelope');
  const system = childOf(root, 'VirtualSystem');
  if (!system) throw invalid('the envelope has no VirtualSystem');
  const hardware = childOf(system, 'VirtualHardwareSection');
  if (!hardware) throw invalid('the virtual system has no VirtualHardwareSection');
  const options = named(childOf(root, 'DeploymentOptionSection'), 'Configuration').map((one) => ({
    id: attribute(one, 'id'),
    label: textOf(one, 'Label'),
    description: textOf(one, 'Description'),
    isDefault: attribute(one, 'default') === 'true',
  }));
  const chosen = option || (options.find((one) => one.isDefault) ?? options[0])?.id || '';
  if (option && !options.some((one) => one.id === option))
    throw invalid(`there is no deployment option ${option}`);
  const items = [...hardware.children].filter((item) => {
    const configurations = attribute(item, 'configuration').split(/\s+/).filter(Boolean);
    return (
      ['Item', 'EthernetPortItem', 'StorageItem'].includes(item.name) &&
      (configurations.length === 0 || configurations.includes(chosen))
    );
  });
  const productSections = system.children.filter((one) => one.name === 'ProductSection');
  const product = productSections[0];
  return {
    name: textOf(system, 'Name') || attribute(system, 'id'),
    networks: named(childOf(root, 'NetworkSection'), 'Network').map((one) => ({
      name: attribute(one, 'name'),
      description: textOf(one, 'Description'),
    })),
    files: named(childOf(root, 'References'), 'File').map((one) => ({
      id: attribute(one, 'id'),
      href: attribute(one, 'href'),
      size: Number(attribute(one, 'size') || 0),
    })),
    disks: named(childOf(root, 'DiskSection'), 'Disk').map((one) => ({
      diskId: attribute(one, 'diskId'),
      fileRef: attribute(one, 'fileRef'),
      capacityBytes: capacityOf(attribute(one, 'capacity'), attribute(one, 'capacityAllocationUnits')),
    })),
    nics: items
      .filter((item) => textOf(item, 'ResourceType') === ETHERNET)
      .map((item) => textOf(item, 'Connection')),
    hardwareDisks: items
      .filter((item) => textOf(item, 'ResourceType') === DISK)
      .map((item) => textOf(item, 'HostResource').split('/').at(-1)!),
    options,
    properties: productSections.flatMap((section) =>
      named(section, 'Property').map((one) => ({
        key: attribute(one, 'key'),
        classId: attribute(section, 'class'),
        instanceId: attribute(section, 'instance'),
        type: attribute(one, 'type') || 'string',
        label: textOf(one, 'Label'),
        isUserConfigurable: attribute(one, 'userConfigurable') === 'true',
        isPassword: attribute(one, 'password') === 'true',
        defaultValue: attribute(one, 'value'),
        minLength: Number(/MinLen\((\d{1,6})\)/.exec(attribute(one, 'qualifiers'))?.[1] ?? 0),
      })),
    ),
    product: {
      name: product ? textOf(product, 'Product') : '',
      vendor: product ? textOf(product, 'Vendor') : '',
      version: product ? textOf(product, 'Version') : '',
    },
  };
}

function named(section: XmlElement | undefined, name: string): XmlElement[] {
  return (section?.children ?? []).filter((child) => child.name === name);
}

/** An attribute, with or without the prefix of OVF. */
function attribute(element: XmlElement, name: string): string {
  return element.attributes.get(`${OVF} ${name}`) ?? element.attributes.get(name) ?? '';
}

function textOf(element: XmlElement, name: string): string {
  return childOf(element, name)?.text.trim() ?? '';
}

function capacityOf(text: string, units: string): number {
  const power = /2\^(\d{1,2})/.exec(units)?.[1];
  const named: Record<string, number> = { KiloBytes: 10, MegaBytes: 20, GigaBytes: 30 };
  return Number(text || 0) * 2 ** Number(power ?? named[units] ?? 0);
}

function invalid(why: string): VimFault {
  return new VimFault('OvfInvalidPackage', `The OVF package is invalid and cannot be deployed: ${why}`, {
    lineNumber: 0,
  });
}
