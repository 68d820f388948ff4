import type { Family, Labels } from './family.ts'

/** The media type of what `formatExposition` writes. */
export const EXPOSITION = 'text/plain; version=0.0.4; charset=utf-8'

/** Writes metrics in the text format of Prometheus, version 0.0.4; those that have no sample are left out. */
export function formatExposition(families: readonly Family[]): string {
  return families.filter(({ samples }) => samples.length > 0).map(formatFamily).join('')
}

function formatFamily({ name, help, type, samples }: Family): string {
  const lines = samples.map(({ suffix, labels, value }) => `${name}${suffix}${formatLabels(labels)} ${formatNumber(value)}\n`)
  return `# HELP ${name} ${help.replace(/[\\\n]/g, escape)}\n# TYPE ${name} ${type}\n${lines.join('')}`
}

function formatLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${value.replace(/[\\\n"]/g, escape)}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

function escape(character: string): string {
  return character === '\n' ? '\\n' : `\\${character}`
}

function formatNumber(value: number): string {
  return Number.isFinite(value) || Number.isNaN(value) ? String(value) : value > 0 ? '+Inf' : '-Inf'
}
