import { Command } from 'commander';
import { ErrandError } from '../errors.ts';
import { PROJECT_NAME_PATTERN } from '../protocol/limits.ts';
import { createProject, listProjects } from '../store/project.ts';
import { renderTable } from './table.ts';
import { withDatabase } from './with-database.ts';

/** `errand project`: the tenants of this database. */
export function projectCommand(): Command {
  const command = new Command('project').description('make and list projects');
  command.command('create <name>').description('make a project; safe to repeat').action(create);
  command.command('list').description('list the projects').action(list);
  return command;
}

async function create(name: string): Promise<void> {
  if (!PROJECT_NAME_PATTERN.test(name)) {
    throw new ErrandError(
      'invalid-project-name',
      'A project name must be 1 to 63 lower-case letters, digits and dashes, ' +
        `not a dash first, got ${JSON.stringify(name)}`,
    );
  }
  const isNew = await withDatabase((sql) => createProject(sql, name));
  process.stdout.write(isNew ? `made project ${name}\n` : `project ${name} is there already\n`);
}

async function list(): Promise<void> {
  const projects = await withDatabase(listProjects);
  const rows = projects.map(({ name, createdAt }) => [name, createdAt.toISOString()]);
  process.stdout.write(renderTable(['name', 'created'], rows));
}
